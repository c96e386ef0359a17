//! The programs of the control plane: found, or built once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

/// The version that `go/go.mod` pins.
const VERSION: &str = "v1.36.3";
const MINOR: &str = "36";

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// The directory that they are in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of `kube-apiserver`, `kube-controller-manager`, `kubectl` or `etcd`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        // Go names etcd's server after its package.
        if name == "etcd" && !path.exists() { self.directory.join("server") } else { path }
    }
}

/// The programs of `KUBEBUILDER_ASSETS` if that is set; else those that the pinned Go module
/// gives, built at the first call, which takes some five minutes on two cores.
pub fn binaries() -> anyhow::Result<Binaries> {
    if let Some(directory) = std::env::var_os("KUBEBUILDER_ASSETS") {
        let binaries = Binaries { directory: directory.into() };
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"] {
            let path = binaries.path(name);
            ensure!(path.exists(), "KUBEBUILDER_ASSETS has no {name} (looked for {})", path.display());
        }
        return Ok(binaries);
    }
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let directory = target_directory().join("testbed").join(VERSION);
    let done = directory.join("complete");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // Tests run in several processes: one builds, the others wait.
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    if !done.exists() {
        build(&module, &directory)?;
        File::create(&done)?;
    }
    Ok(Binaries { directory })
}

fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

#[expect(clippy::print_stderr, reason = "minutes of silence would look like a hang")]
fn build(module: &Path, directory: &Path) -> anyhow::Result<()> {
    eprintln!(
        "building etcd, kube-apiserver, kube-controller-manager and kubectl {VERSION} once; some five minutes on two cores"
    );
    let begin = Instant::now();
    let component = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {component}.gitVersion={VERSION} -X {component}.gitMajor=1 -X {component}.gitMinor={MINOR} \
         -X k8s.io/client-go/pkg/version.gitVersion={VERSION}"
    );
    let mut output = directory.as_os_str().to_owned();
    output.push("/");
    let status = Command::new("go")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(output)
        .arg("tool")
        .status();
    match status {
        Ok(status) if status.success() => {
            eprintln!("built in {} s", begin.elapsed().as_secs());
            Ok(())
        }
        Ok(status) => bail!("go build of the control plane failed ({status}); its output stands above"),
        Err(error) => bail!(
            "cannot run go ({error}): the tests run against a real control plane, which Go builds. Install Go 1.26 \
             (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver, \
             kube-controller-manager and kubectl"
        ),
    }
}
