//! kubectl, as a user would call it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// kubectl with a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program, kubeconfig }
    }

    /// The kubeconfig file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the program is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The same program with another kubeconfig.
    #[must_use]
    pub fn with(&self, kubeconfig: &Path) -> Self {
        Self { program: self.program.clone(), kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it with `input` on standard input, however it ends.
    pub fn output(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        let mut child = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        // A kubectl that failed early did not read all of it.
        let _ = writer.join();
        Ok(output)
    }

    /// Standard output, if it succeeds.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.feed(arguments, "")
    }

    /// Standard output, if it succeeds with `input` on standard input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let output = self.output(arguments, input)?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Creates what `manifest` (YAML or JSON) says.
    pub fn create(&self, manifest: &str) -> anyhow::Result<String> {
        self.feed(&["create", "-f", "-"], manifest)
    }

    /// Applies what `manifest` (YAML or JSON) says.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        self.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], manifest)
    }

    /// What `kubectl get … -o json` says.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments: Vec<&str> = ["get"].iter().chain(arguments).chain(&["-o", "json"]).copied().collect();
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }
}
