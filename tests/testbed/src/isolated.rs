//! A test in network, mount and process namespaces of its own: what it starts ends with it, what it
//! mounts is seen by nobody else, and its addresses are its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail, ensure};

/// Tells the inner process where what was prepared is.
const INSIDE: &str = "TESTBED_ISOLATED";

/// What must be on the machine, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 8] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("unshare", "util-linux"),
    ("cc", "gcc"),
    ("ctr", "containerd"),
];

/// Two nodes at a time would share the cgroups of their containers, and the cores of the machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs the test `name` (as `--exact` takes it): `prepare` outside, where there is a network, then
/// `run` inside. Both get the same directory.
pub fn isolated(
    name: &str,
    prepare: impl FnOnce(&Path) -> anyhow::Result<()>,
    run: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(directory) = std::env::var_os(INSIDE) {
        set_up()?;
        return run(&PathBuf::from(directory));
    }
    check()?;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::Builder::new().prefix("node-").tempdir()?;
    prepare(directory.path())?;
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, directory.path())
        .status()
        .context("cannot run unshare")?;
    remove_cgroups(Path::new("/sys/fs/cgroup"));
    ensure!(status.success(), "{name} failed in its namespaces; its output stands above");
    Ok(())
}

fn check() -> anyhow::Result<()> {
    let leave_out = "To leave this tier out, say so: cargo test --workspace -- --skip node::chart --skip node::joining \
                     --skip node::rotation --skip vanished";
    let user = Command::new("id").arg("-u").output().context("cannot run id")?;
    if user.stdout.trim_ascii() != b"0" {
        bail!("a node needs root, for namespaces and containers. {leave_out}");
    }
    let found = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !found(program)).map(|(_, package)| *package).collect();
    let plugins = Path::new(crate::node::CNI_PLUGINS).join("bridge").exists();
    if !missing.is_empty() || !plugins {
        let packages = missing.into_iter().chain((!plugins).then_some("containernetworking-plugins"));
        let packages: Vec<&str> = packages.collect();
        bail!("a node needs more programs: apt-get install {}. {leave_out}", packages.join(" "));
    }
    Ok(())
}

/// Removes what the containers left behind: their cgroups, which nobody is in any more.
fn remove_cgroups(root: &Path) {
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
    };
    // Below the root, or below each hierarchy; the kernel refuses to remove those that are in use.
    for parent in [root.to_owned()].into_iter().chain(directories(root)) {
        let ours = parent.join("k8s.io");
        for container in directories(&ours) {
            let _ = std::fs::remove_dir(container);
        }
        let _ = std::fs::remove_dir(ours);
    }
}

fn set_up() -> anyhow::Result<()> {
    // A veth pair, since not every kernel has dummy devices.
    for arguments in [
        "link set lo up",
        "link add node0 type veth peer name node1",
        &format!("addr add {}/24 dev node0", crate::node::ADDRESS),
        // The Service kubernetes.default, without a kube-proxy: the API server listens there itself.
        "addr add 10.0.0.1/32 dev node0",
        "link set node0 up",
        "link set node1 up",
    ] {
        let status = Command::new("ip").args(arguments.split(' ')).status()?;
        ensure!(status.success(), "ip {arguments}: {status}");
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    for directory in ["/run", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/etc/cni", "/opt"] {
        std::fs::create_dir_all(directory)?;
        let status = Command::new("mount").args(["-t", "tmpfs", "testbed", directory]).status()?;
        ensure!(status.success(), "mount {directory}: {status}");
    }
    Ok(())
}
