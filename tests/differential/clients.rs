//! What real clients make is never refused as undecodable: `tests/corpus/clients.sh` made the files, and `VERSIONS` says
//! with what.

use std::collections::BTreeMap;

use countersign::request::{Pkcs10, Usage};

/// What the names of the files begin with, the longer ones first.
const CLIENTS: [&str; 9] =
    ["openssl-1.1", "openssl", "kubelet", "kubeadm", "go", "rcgen", "python", "cfssl", "keytool"];

#[test]
fn what_real_clients_make_decodes() {
    let usages: Vec<Usage> = ["client auth", "server auth", "digital signature", "key encipherment"]
        .into_iter()
        .map(|name| Usage::from_name(name).unwrap())
        .collect();
    let mut numbers = BTreeMap::<String, usize>::new();
    for entry in std::fs::read_dir("tests/corpus/clients").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "csr") {
            let pem = std::fs::read(&path).unwrap();
            if let Err(error) = Pkcs10::from_pem(&pem, &usages) {
                panic!("{}: {error} [{}]", path.display(), error.code);
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let client = CLIENTS.iter().find(|client| name.starts_with(*client));
            *numbers.entry(client.unwrap_or_else(|| panic!("whose is {name}?")).to_string()).or_default() += 1;
        }
    }
    assert_eq!(numbers.len(), CLIENTS.len(), "{numbers:?}");
    assert!(numbers.values().sum::<usize>() > 80, "{numbers:?}");
}
