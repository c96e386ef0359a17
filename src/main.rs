//! The `countersign` command.
#![allow(clippy::print_stdout)]

fn main() {
    for crd in countersign::api::schema::crds() {
        println!("---\n{}", serde_saphyr::to_string(&crd).unwrap_or_default());
    }
}
