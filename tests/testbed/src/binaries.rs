//! The programs of the control plane: found, or built once.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

/// The version that `go/go.mod` pins.
const VERSION: &str = "v1.36.3";
const MINOR: &str = "36";

/// The module of the control plane, below `go/`.
const CONTROL_PLANE: &str = ".";
/// That of what runs beside it.
const TOOLS: &str = "tools";

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

    /// The path of `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubelet`, `kubectl` or `etcd`.
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
    let directory = target_directory().join("testbed").join(VERSION);
    let done = directory.join("complete");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // Tests run in several processes: one builds, the others wait.
    let lock = File::create(directory.join("lock"))?;
    lock.lock()?;
    if !done.exists() {
        build(&directory)?;
        File::create(&done)?;
    }
    Ok(Binaries { directory })
}

/// The program that says what Go makes of a request (`go/goreads`). Go itself sees to it that it is up to date, so this is
/// quick once the control plane is built, and takes a minute or two without.
pub fn goreads() -> anyhow::Result<PathBuf> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let directory = target_directory().join("testbed");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let lock = File::create(directory.join("goreads.lock"))?;
    lock.lock()?;
    let path = directory.join("goreads");
    let status = Command::new("go")
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .args([&path, Path::new("./goreads")])
        .status()
        .context("cannot run go: install Go 1.26 (https://go.dev/dl)")?;
    ensure!(status.success(), "go build of goreads failed ({status}); its output stands above");
    Ok(path)
}

/// Builds the static program that the image ships, for the machine that this runs on, and returns its path. It is not
/// optimised as a whole, which takes minutes.
pub fn static_program() -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--profile=quick", "--locked", "--package=countersign", "--target", &target])
        .status()
        .context("cannot run cargo")?;
    ensure!(
        status.success(),
        "cargo build for {target} failed ({status}); its output stands above. It needs the target (rustup target add \
         {target}) and musl-gcc (Debian's musl-tools)"
    );
    Ok(target_directory().join(target).join("quick/countersign"))
}

/// A program that tests run beside the control plane, at the version that `go/tools/go.mod` or `go/go.mod` pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Helm 3.
    Helm3,
    /// Helm 4.
    Helm4,
    /// Writes the README of the chart from its values.
    HelmDocs,
    /// Checks manifests against JSON schemas.
    Kubeconform,
    /// Makes the certificates and kubeconfigs of a cluster, as most clusters have them.
    Kubeadm,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Helm3, Self::Helm4, Self::HelmDocs, Self::Kubeconform, Self::Kubeadm];

    /// What it is called here, its module, and the package of it that Go builds. kubeadm comes with the control plane.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Helm3 => ("helm3", "helm.sh/helm/v3", "cmd/helm"),
            Self::Helm4 => ("helm4", "helm.sh/helm/v4", "cmd/helm"),
            Self::HelmDocs => ("helm-docs", "github.com/norwoodj/helm-docs", "cmd/helm-docs"),
            Self::Kubeconform => ("kubeconform", "github.com/yannh/kubeconform", "cmd/kubeconform"),
            Self::Kubeadm => ("kubeadm", "k8s.io/kubernetes", "cmd/kubeadm"),
        }
    }

    /// The program: of the directory `TESTBED_TOOLS` if that is set, else built at the first call,
    /// which takes some minutes for the first Helm on two cores. kubeadm may lie beside the control plane.
    #[expect(clippy::print_stderr, reason = "minutes of silence would look like a hang")]
    pub fn path(self) -> anyhow::Result<PathBuf> {
        let (name, module, package) = self.names();
        if let Some(directory) = std::env::var_os("TESTBED_TOOLS") {
            let path = Path::new(&directory).join(name);
            if self != Self::Kubeadm || path.exists() {
                ensure!(path.exists(), "TESTBED_TOOLS has no {name} (looked for {})", path.display());
                return Ok(path);
            }
        }
        if self == Self::Kubeadm {
            let path = binaries()?.path(name);
            if path.exists() {
                return Ok(path);
            }
        }
        let pinned = if self == Self::Kubeadm { CONTROL_PLANE } else { TOOLS };
        let directory = target_directory().join("testbed/tools").join(digest(pinned)?);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let lock = File::create(directory.join(format!("{name}.lock")))?;
        lock.lock()?;
        let path = directory.join(name);
        if !path.exists() {
            eprintln!("building {name} once");
            go_build(pinned, &[&format!("{module}/{package}")], path.as_os_str())?;
        }
        Ok(path)
    }
}

/// What stands for all versions that the module in the directory `pinned` of `go/` has.
fn digest(pinned: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(pinned).join("go.sum");
    let sums = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = DefaultHasher::new();
    sums.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// The directory of a Go module at a version, with all of its files, which Go downloads at the first call.
pub fn go_module(module: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .current_dir(std::env::temp_dir())
        .args(["mod", "download", "-json", module])
        .output()
        .context("cannot run go: install Go 1.26 (https://go.dev/dl)")?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("go mod download said nothing")?;
    match answer["Dir"].as_str() {
        Some(directory) if output.status.success() => Ok(directory.into()),
        _ => bail!("go mod download {module}: {}", answer["Error"]),
    }
}

fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

#[expect(clippy::print_stderr, reason = "minutes of silence would look like a hang")]
fn build(directory: &Path) -> anyhow::Result<()> {
    eprintln!(
        "building etcd, kube-apiserver, kube-controller-manager and kubectl {VERSION} once; some five minutes on two cores"
    );
    let begin = Instant::now();
    let mut output = directory.as_os_str().to_owned();
    output.push("/");
    go_build(CONTROL_PLANE, &["tool"], &output)?;
    eprintln!("built in {} s", begin.elapsed().as_secs());
    Ok(())
}

/// Builds packages of the module in the directory `pinned` of `go/` into `output`. Those of the control plane are stamped
/// with its version: without it they call themselves v0.0.0.
fn go_build(pinned: &str, packages: &[&str], output: &OsStr) -> anyhow::Result<()> {
    let component = "k8s.io/component-base/version";
    let stamped = format!(
        "-s -w -X {component}.gitVersion={VERSION} -X {component}.gitMajor=1 -X {component}.gitMinor={MINOR} \
         -X k8s.io/client-go/pkg/version.gitVersion={VERSION}"
    );
    let flags = if pinned == CONTROL_PLANE { &stamped } else { "-s -w" };
    let status = Command::new("go")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(pinned))
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags", flags, "-o"])
        .arg(output)
        .args(packages)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("go build of {} failed ({status}); its output stands above", packages.join(", ")),
        Err(error) => bail!(
            "cannot run go ({error}): the tests run against a real control plane, which Go builds. Install Go 1.26 \
             (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver, \
             kube-controller-manager and kubectl"
        ),
    }
}
