//! What is derived has not drifted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use testbed::Tool;

/// Every file below `directory`, by its path.
fn files(root: &Path, directory: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(root.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files(root, &path, found);
        } else {
            found.insert(path, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn crds_chart_and_manifests_are_as_generated() {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("deploy/generate.sh")
        .arg(directory.path())
        .env("COUNTERSIGN", env!("CARGO_BIN_EXE_countersign"))
        .env("HELM", Tool::Helm4.path().unwrap())
        .env("HELM_DOCS", Tool::HelmDocs.path().unwrap())
        .status();
    assert!(status.unwrap().success());
    let (mut kept, mut generated) = (BTreeMap::new(), BTreeMap::new());
    for part in ["crds", "charts", "deploy"] {
        files(Path::new("."), part, &mut kept);
        files(directory.path(), part, &mut generated);
    }
    for files in [&mut kept, &mut generated] {
        let root = if files.contains_key("deploy/generate.sh") { Path::new(".") } else { directory.path() };
        let reference = "docs/reference.md";
        files.insert(reference.to_owned(), std::fs::read_to_string(root.join(reference)).unwrap());
    }
    // These three are written by hand.
    for name in ["generate.sh", "kustomization.yaml", "namespace.yaml"] {
        kept.remove(&format!("deploy/{name}")).unwrap();
    }
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&kept), names(&generated), "run deploy/generate.sh");
    let undocumented =
        kept["charts/countersign/README.md"].lines().find(|row| row.starts_with("| `") && row.ends_with("|  |"));
    assert_eq!(undocumented, None, "values.yaml says nothing about a value");
    for (path, text) in &kept {
        assert!(*text == generated[path], "{path} has drifted: run deploy/generate.sh");
    }
}
