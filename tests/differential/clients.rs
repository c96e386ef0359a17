//! What real clients make is never refused as undecodable: `tests/corpus/clients.sh` made the files, and `VERSIONS` says
//! with what.

use countersign::request::{Pkcs10, Usage};

#[test]
fn what_real_clients_make_decodes() {
    let usages: Vec<Usage> = ["client auth", "server auth", "digital signature", "key encipherment"]
        .into_iter()
        .map(|name| Usage::from_name(name).unwrap())
        .collect();
    let mut number = 0;
    for entry in std::fs::read_dir("tests/corpus/clients").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "csr") {
            let pem = std::fs::read(&path).unwrap();
            if let Err(error) = Pkcs10::from_pem(&pem, &usages) {
                panic!("{}: {error} [{}]", path.display(), error.code);
            }
            number += 1;
        }
    }
    assert!(number > 40, "{number} files");
}
