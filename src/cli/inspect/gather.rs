//! Everything that the files hold, each certificate and key once, with all the places where it lies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::certificate::Certificate;
use super::key::Key;
use super::kubeconfig::Kubeconfig;
use super::pem::{self, Block};
use crate::cli::input::{self, Content, Document};
use crate::cli::load::{self, Sourced};
use crate::cli::options::{RequestOptions, StatedIn};
use crate::cli::problem::Problem;
use crate::escape::printable;
use crate::request::Usage;

/// What stands for what a bare request does not say.
pub(super) const NOT_STATED: &str = "(not stated)";

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) certificates: Vec<Held<Certificate>>,
    pub(super) keys: Vec<Held<Key>>,
    pub(super) kubeconfigs: Vec<Kubeconfig>,
    /// With the number of the document.
    pub(super) requests: Vec<(usize, Sourced)>,
}

/// A thing, and where it lies.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) value: T,
    /// At least one.
    pub(super) places: Vec<Place>,
}

/// Where a certificate or key lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// For people.
    pub(super) source: String,
    /// The number of the document, among all.
    pub(super) order: usize,
    /// The number of the certificate in it, from 0.
    pub(super) position: usize,
    pub(super) holder: Holder,
}

/// What holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// A file; no path for standard input.
    File(Option<PathBuf>),
    /// A cluster of a kubeconfig, as what it trusts.
    Authority,
    /// A user of a kubeconfig.
    User,
    /// `status.certificate` of a request.
    Issued,
}

impl<T> Held<T> {
    /// The place to call it by: a file, if it lies in one.
    pub(super) fn first(&self) -> &Place {
        let file = self.places.iter().find(|place| matches!(place.holder, Holder::File(_)));
        file.unwrap_or(&self.places[0])
    }
}

/// Reads everything in `paths`. Other objects among them are passed over, but in each file that is named there is something.
pub(super) fn gather(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Inventory {
    let before = problems.len();
    let mut inventory = Inventory::default();
    let documents = input::read(paths, &input::CREDENTIALS, problems);
    // The files that hold something, or have a problem.
    let mut told: BTreeSet<String> = problems[before..].iter().map(|problem| problem.source.clone()).collect();
    for (order, document) in documents.into_iter().enumerate() {
        let before = (inventory.size(), problems.len());
        match &document.content {
            Content::Pem(bytes) => inventory.pem(&document, order, &String::from_utf8_lossy(bytes), problems),
            Content::Manifest(_) => inventory.manifest(&document, order, problems),
        }
        if (inventory.size(), problems.len()) != before {
            told.insert(document.path);
        }
    }
    let nothing = told.is_empty();
    for path in paths.iter().filter(|path| nothing || !path.is_dir()) {
        let path = path.display().to_string();
        if !told.contains(&path) {
            let message = "holds no CertificateSigningRequest, certificate, key or kubeconfig";
            problems.push(Problem::new(&path, None, message));
        }
    }
    inventory
}

impl Inventory {
    /// How many things there are, each as often as it lies somewhere.
    fn size(&self) -> usize {
        let certificates: usize = self.certificates.iter().map(|held| held.places.len()).sum();
        let keys: usize = self.keys.iter().map(|held| held.places.len()).sum();
        certificates + keys + self.kubeconfigs.len() + self.requests.len()
    }

    fn pem(&mut self, document: &Document, order: usize, text: &str, problems: &mut Vec<Problem>) {
        let blocks = pem::blocks(text);
        for line in pem::slips(text) {
            problems.push(Problem::new(&document.path, None, format!("line {line} {NO_BLOCK}")));
        }
        // One request with whatever stands around it is read as strictly as by `review`.
        if let [only] = blocks.as_slice()
            && only.label.ends_with("CERTIFICATE REQUEST")
        {
            return self.request(document, order, problems);
        }
        let path = (document.path != "-").then(|| PathBuf::from(&document.path));
        let several = blocks.len() > 1;
        for (number, block) in (1..).zip(&blocks) {
            let source = if several { format!("{}#{number}", document.source) } else { document.source.clone() };
            if block.label.ends_with("CERTIFICATE REQUEST") {
                let content = Content::Pem(block.text.as_bytes().to_vec());
                let part = Document { source, path: document.path.clone(), content };
                self.request(&part, order, problems);
                continue;
            }
            let position = self.certificates_of(order);
            let place = Place { source, order, position, holder: Holder::File(path.clone()) };
            if let Err(message) = self.block(block, place) {
                problems.push(Problem::new(&document.path, None, format!("line {}: {message}", block.line)));
            }
        }
    }

    /// How many certificates of a document there are so far.
    fn certificates_of(&self, order: usize) -> usize {
        let places = self.certificates.iter().flat_map(|held| &held.places);
        places.filter(|place| place.order == order && matches!(place.holder, Holder::File(_))).count()
    }

    /// Takes a block that is a certificate or a key, and passes over the parameters of a key, which openssl writes before it.
    fn block(&mut self, block: &Block<'_>, place: Place) -> Result<(), String> {
        if is_certificate(block.label) {
            let certificate = certificate(block)?;
            self.hold_certificate(certificate, place);
            return Ok(());
        }
        if !is_key(block.label) {
            return if block.label.ends_with(" PARAMETERS") { Ok(()) } else { Err(unread(block.label)) };
        }
        let key = key(block)?;
        let same = |held: &&mut Held<Key>| key.public().is_some() && held.value == key;
        match self.keys.iter_mut().find(same) {
            Some(held) => held.places.push(place),
            None => self.keys.push(Held { value: key, places: vec![place] }),
        }
        Ok(())
    }

    /// Takes a certificate, and returns its number.
    pub(super) fn hold_certificate(&mut self, certificate: Certificate, place: Place) -> usize {
        if let Some(index) = self.certificates.iter().position(|held| held.value.is(&certificate)) {
            self.certificates[index].places.push(place);
            return index;
        }
        self.certificates.push(Held { value: certificate, places: vec![place] });
        self.certificates.len() - 1
    }

    /// Takes every certificate of a PEM text, and returns their numbers.
    pub(super) fn hold_chain(&mut self, text: &str, place: &Place) -> Result<Vec<usize>, String> {
        if let Some(line) = pem::slips(text).first() {
            return Err(format!("has a line {line} that {NO_BLOCK}"));
        }
        let blocks = pem::blocks(text);
        let certificates = blocks.iter().filter(|block| is_certificate(block.label));
        let chain: Vec<Certificate> = certificates.map(certificate).collect::<Result<_, _>>()?;
        if chain.is_empty() {
            return Err("holds no certificate".to_owned());
        }
        let place = |position| Place { position, ..place.clone() };
        Ok((0..).zip(chain).map(|(position, one)| self.hold_certificate(one, place(position))).collect())
    }

    fn manifest(&mut self, document: &Document, order: usize, problems: &mut Vec<Problem>) {
        let Content::Manifest(located) = &document.content else { return };
        let value = located.value();
        if Kubeconfig::is(&value) {
            return Kubeconfig::read(self, &document.path, located, order, problems);
        }
        self.request(document, order, problems);
        let Some(issued) = value["status"]["certificate"].as_str().filter(|issued| !issued.is_empty()) else { return };
        if value["kind"] != "CertificateSigningRequest" {
            return;
        }
        let holder = Holder::Issued;
        let place = Place { source: format!("{} (issued)", document.source), order, position: 0, holder };
        if let Err(message) = decoded(issued).and_then(|text| self.hold_chain(&text, &place)) {
            let at = located.place_of("status.certificate");
            problems.push(Problem::new(&document.path, Some(at), format!("status.certificate {message}")));
        }
    }

    fn request(&mut self, document: &Document, order: usize, problems: &mut Vec<Problem>) {
        // Whatever a file leaves out is shown as such.
        let options = RequestOptions {
            signer_name: Some(NOT_STATED.to_owned()),
            username: Some(NOT_STATED.to_owned()),
            uid: None,
            groups: Vec::new(),
            extra: Vec::new(),
            // A bare request may ask for any usage that a policy can allow.
            usages: match document.content {
                Content::Pem(_) => names(Usage::ALL.into_iter().filter(|usage| !usage.never_allowed())),
                Content::Manifest(_) => Vec::new(),
            },
            expiration_seconds: None,
            stated_in: StatedIn::default(),
        };
        match load::request(document, &options) {
            Ok(Some(mut request)) => {
                if let Content::Pem(_) = document.content {
                    request.envelope.usages = vec![NOT_STATED.to_owned()];
                }
                self.requests.push((order, Sourced::new(&document.source, request)));
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
}

fn names(usages: impl Iterator<Item = Usage>) -> Vec<String> {
    usages.map(|usage| usage.name().to_owned()).collect()
}

/// What is wrong with a line that nearly begins a block.
const NO_BLOCK: &str = "begins no PEM block: write -----BEGIN, a label and five dashes, with nothing before them";

/// Why a block is nothing of what is inspected.
fn unread(label: &str) -> String {
    let label = printable(label);
    match label.as_str() {
        "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => {
            format!("{label} is not read: openssl pkcs7 -in FILE -print_certs makes certificates of it")
        }
        _ => format!("{label} is not read, but CERTIFICATE, CERTIFICATE REQUEST, PUBLIC KEY and PRIVATE KEY are"),
    }
}

fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
}

fn is_key(label: &str) -> bool {
    label == "PUBLIC KEY" || label.ends_with("PRIVATE KEY")
}

fn certificate(block: &Block<'_>) -> Result<Certificate, String> {
    let der = block.der.as_ref().map_err(|&why| format!("is no certificate: {why}"))?;
    Certificate::read(der).map_err(|why| format!("is no certificate: {why}"))
}

fn key(block: &Block<'_>) -> Result<Key, String> {
    match &block.der {
        // An encrypted one may be of any format.
        Err(_) if block.encrypted => Ok(Key::Opaque("it is encrypted")),
        Err(why) => Err(format!("is no key: {why}")),
        Ok(der) => Key::read(block.label, block.encrypted, der),
    }
}

/// The one key of a PEM text, with what else there may be.
pub(super) fn key_of(text: &str) -> Result<Key, String> {
    let blocks = pem::blocks(text);
    match blocks.iter().find(|block| is_key(block.label)) {
        Some(block) => key(block),
        None => Err("holds no private key".to_owned()),
    }
}

/// The text that base64 stands for.
pub(super) fn decoded(base64: &str) -> Result<String, String> {
    let digits: String = base64.split_whitespace().collect();
    let bytes = STANDARD.decode(digits).map_err(|_| "is not base64".to_owned())?;
    String::from_utf8(bytes).map_err(|_| "is not PEM".to_owned())
}

/// Whether a key file `key` belongs by its name to a certificate file `certificate`: `x.key` and `x-key.pem`
/// go with `x.crt`, `x.pem` and the like.
pub(super) fn go_together(key: &Path, certificate: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let (own, other) = (stem(key), stem(certificate));
    key.parent() == certificate.parent() && (own == other || own.strip_suffix("-key") == Some(other.as_str()))
}
