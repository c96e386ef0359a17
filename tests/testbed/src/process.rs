//! Programs that end with the test, also when it is killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

/// Starts the program given as arguments, and kills it as soon as standard input ends: the kernel
/// closes that pipe when the test is gone, however it went.
const WATCHDOG: &str = r#"exec 3<&0 </dev/null; "$@" 3<&- & child=$!
trap 'kill -TERM $child' TERM
( read -r _ <&3; kill -KILL $child 2>/dev/null ) & reader=$!
exec 3<&-
wait $child; status=$?
kill $reader 2>/dev/null
exit $status"#;

impl Running {
    /// Starts `command`, with its output in `log`.
    pub fn start(command: &Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::create(log)?;
        let mut guarded = Command::new("sh");
        guarded.args(["-c", WATCHDOG, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(name, value),
                None => guarded.env_remove(name),
            };
        }
        guarded.stdin(Stdio::piped()).stdout(out.try_clone()?).stderr(out);
        let child = guarded.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The number of the program itself.
    pub fn pid(&self) -> anyhow::Result<u32> {
        // The shell that guards it has one child that is not a shell.
        let guard = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children"))?;
        let guarded =
            |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() != "sh");
        Ok(children.split_whitespace().find(guarded).context("it is not running")?.parse()?)
    }

    /// The most memory, in KiB, that was resident so far.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// The time of a processor that it has taken so far.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // The name stands in parentheses and may have any character; what follows are fields 3 and on (proc(5)).
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        // USER_HZ is 100 wherever Linux runs today.
        let ticks = ticks.sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// The memory, in KiB, that is resident now.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Sends `signal`, such as `TERM`, `KILL`, `STOP` or `CONT`, to the program itself.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid()?.to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status()?;
        anyhow::ensure!(status.success(), "kill -{signal} {pid}: {status}");
        Ok(())
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program under test: the one that `COUNTERSIGN` names, such as the one that the image ships, else the one that was
/// `built` with the test.
#[must_use]
pub fn program(built: &str) -> String {
    std::env::var("COUNTERSIGN").unwrap_or_else(|_| built.to_owned())
}

/// A TCP port of 127.0.0.1 that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Tries until `check` gives something, at most for `limit`; else says what it was about and how
/// the last try ended.
pub fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        match check() {
            Ok(result) => return Ok(result),
            Err(error) if begin.elapsed() > limit => bail!("{what}: not within {} s: {error:#}", limit.as_secs()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
