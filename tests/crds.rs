//! `crds/` holds what this version prints.

use std::fs;
use std::path::Path;

#[test]
fn the_directory_has_not_drifted() {
    let directory = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["crd", "--output-dir"])
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    let read = |directory: &Path| {
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name(), fs::read_to_string(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let kept = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crds"));
    assert!(kept == read(directory.path()), "crds/ has drifted: run countersign crd --output-dir crds");
}
