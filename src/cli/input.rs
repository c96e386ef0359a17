//! Files, directories and standard input become text, and text becomes documents.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::located::{self, Located, Place};
use super::problem::Problem;

/// The largest file that is read, in bytes: ten thousand requests fit.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// What a command looks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The endings of the files that are read from a directory.
    endings: &'static [&'static str],
    /// What may be given, for messages.
    what: &'static str,
    /// How DER becomes PEM, for messages.
    from_der: &'static str,
    /// Whether text may stand before a PEM block.
    text_before_pem: bool,
    /// Whether hidden files of a directory are read.
    hidden_files: bool,
}

/// Policies, guardrails, Nodes and suites. PEM requests may lie beside them.
pub(super) const OBJECTS: Wanted =
    Wanted { endings: &["yaml", "yml", "json"], what: "a manifest (YAML or JSON)", ..REQUESTS };

/// Requests.
pub(super) const REQUESTS: Wanted = Wanted {
    endings: &["yaml", "yml", "json", "pem", "csr"],
    what: "a manifest (YAML or JSON) or a PEM request",
    from_der: "openssl req -inform DER -in FILE",
    text_before_pem: false,
    hidden_files: true,
};

/// Requests, certificates, keys and kubeconfigs.
pub(super) const CREDENTIALS: Wanted = Wanted {
    endings: &["yaml", "yml", "json", "pem", "csr", "crt", "cer", "cert", "key", "pub", "conf", "kubeconfig"],
    what: "a manifest or kubeconfig (YAML or JSON), or PEM",
    from_der: "openssl x509 -inform DER -in FILE",
    text_before_pem: true,
    hidden_files: false,
};

impl Wanted {
    fn ends_like_one(&self, path: &Path) -> bool {
        // Unlike `extension`, the name `.yaml` ends so too, as it does for kubectl.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| self.endings.iter().any(|known| ending.eq_ignore_ascii_case(known)))
    }

    fn is_pem(&self, text: &str) -> bool {
        text.trim_start().starts_with(BEGIN) || self.text_before_pem && text.lines().any(|line| line.starts_with(BEGIN))
    }
}

/// How a PEM block begins (RFC 7468).
const BEGIN: &str = "-----BEGIN ";

/// A document, or a PEM block.
#[derive(Debug)]
pub(super) struct Document {
    /// The path, with `#N` for the N-th document of several.
    pub(super) source: String,
    /// The path alone, for places.
    pub(super) path: String,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Manifest(Located),
    Pem(Vec<u8>),
}

/// Everything that `paths` hold, in order; what could not be read goes to `problems`.
pub(super) fn read(paths: &[PathBuf], wanted: &Wanted, problems: &mut Vec<Problem>) -> Vec<Document> {
    find(paths, wanted).into_iter().flat_map(|found| found.read(wanted, problems)).collect()
}

/// A file that is to be read, or standard input; or why there is nothing to read.
#[derive(Debug)]
pub(super) struct Found(Result<PathBuf, Problem>);

/// What there is to read in `paths`, in order.
pub(super) fn find(paths: &[PathBuf], wanted: &Wanted) -> Vec<Found> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        visit(path, true, wanted, &mut Vec::new(), &mut found);
        if found.len() == before {
            let message = format!("there is no file in it that ends in {}", wanted.endings.join(", "));
            found.push(Found(Err(Problem::new(&path.display().to_string(), None, message))));
        }
    }
    found
}

impl Found {
    /// What it holds; what could not be read goes to `problems`.
    pub(super) fn read(self, wanted: &Wanted, problems: &mut Vec<Problem>) -> Vec<Document> {
        let mut documents = Vec::new();
        match self.0 {
            Ok(path) => {
                let shown = path.display().to_string();
                let read = if path == Path::new("-") { bytes(std::io::stdin().lock()) } else { file(&path) };
                match read {
                    Ok(bytes) => parse(&shown, &bytes, wanted, &mut documents, problems),
                    Err(message) => problems.push(Problem::new(&shown, None, message)),
                }
            }
            Err(problem) => problems.push(problem),
        }
        documents
    }
}

fn visit(path: &Path, named: bool, wanted: &Wanted, ancestors: &mut Vec<PathBuf>, found: &mut Vec<Found>) {
    let mut problem =
        |message: String| found.push(Found(Err(Problem::new(&path.display().to_string(), None, message))));
    if path == Path::new("-") {
        return found.push(Found(Ok(path.to_owned())));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(metadata) => {
            if !named && !wanted.ends_like_one(path) {
                return;
            }
            if !named && !metadata.is_file() {
                // Opening it could wait for ever.
                return problem("is a pipe, a socket or a device, and read only where it is named itself".to_owned());
            }
            return found.push(Found(Ok(path.to_owned())));
        }
        Err(error) => return problem(format!("cannot be read: {error}")),
    }
    let entries = fs::canonicalize(path).and_then(|real| {
        let mut entries =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        Ok((real, entries))
    });
    let (real, entries) = match entries {
        Ok(read) => read,
        Err(error) => return problem(format!("cannot be listed: {error}")),
    };
    if ancestors.contains(&real) {
        return problem("the directory contains itself through a symbolic link: remove the link".to_owned());
    }
    ancestors.push(real);
    for entry in entries {
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // kubectl applies hidden files of a directory; what hidden directories such as .git hold is for programs.
        if !hidden || wanted.hidden_files && !entry.is_dir() {
            visit(&entry, false, wanted, ancestors, found);
        }
    }
    ancestors.pop();
}

/// The bytes of a file that another names, or why there are none. Opening a pipe could wait for ever.
pub(super) fn regular_file(path: &Path) -> Result<Vec<u8>, String> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err("is no regular file".to_owned()),
        _ => file(path),
    }
}

/// The bytes of a file, or why there are none.
fn file(path: &Path) -> Result<Vec<u8>, String> {
    fs::File::open(path).map_err(|error| format!("cannot be opened: {error}")).and_then(bytes)
}

/// `text` without the byte order mark that editors of old put in front.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn bytes(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {} MiB: split it", MAX_BYTES >> 20));
    }
    Ok(bytes)
}

fn parse(path: &str, bytes: &[u8], wanted: &Wanted, documents: &mut Vec<Document>, problems: &mut Vec<Problem>) {
    let Wanted { what, from_der, .. } = wanted;
    let mut problem = |place, message: &str| problems.push(Problem::new(path, place, message));
    let Ok(text) = std::str::from_utf8(bytes) else {
        let (format, make) = container(bytes).unwrap_or(("DER", from_der));
        return problem(None, &format!("is not text: give {what}; {make} makes PEM of {format}"));
    };
    let text = without_mark(text);
    if text.trim().is_empty() {
        return problem(None, &format!("is empty: give {what}"));
    }
    if wanted.is_pem(text) {
        // The API server takes a request as it is, and nothing else in front of it.
        let content = Content::Pem(if wanted.text_before_pem { text.into() } else { bytes.to_vec() });
        documents.push(Document { source: path.to_owned(), path: path.to_owned(), content });
        return;
    }
    let parsed = match located::documents(text) {
        Ok(parsed) => parsed,
        Err((place, message)) => return problem(place, &format!("is neither YAML nor JSON: {message}")),
    };
    let objects: Vec<_> = parsed.into_iter().flat_map(flatten).collect();
    if objects.is_empty() {
        return problem(None, &format!("holds no object: give {what}"));
    }
    let several = objects.len() > 1;
    for (index, object) in objects.into_iter().enumerate() {
        let object = match object {
            Ok(object) if object.value().is_object() => object,
            Ok(other) => {
                problem(
                    Some(other.place()),
                    "is not a Kubernetes object: it needs apiVersion, kind, metadata and spec",
                );
                continue;
            }
            Err(place) => {
                problem(Some(place), "is a List without a list: write items, and - before each object in it");
                continue;
            }
        };
        let source = if several { format!("{path}#{}", index + 1) } else { path.to_owned() };
        documents.push(Document { source, path: path.to_owned(), content: Content::Manifest(object) });
    }
}

/// What holds certificates and keys beside DER: its name, and what makes PEM of it.
fn container(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    /// 1.2.840.113549.1.7.2, signedData (RFC 2315, section 14).
    const SIGNED_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) || bytes.starts_with(&[0xce, 0xce, 0xce, 0xce]) {
        return Some(("a Java keystore", "keytool -list -rfc -keystore FILE"));
    }
    // A SEQUENCE, and what is in it.
    let content = match bytes {
        [0x30, length, rest @ ..] if *length >= 0x80 => rest.get(usize::from(length - 0x80)..)?,
        [0x30, _, rest @ ..] => rest,
        _ => return None,
    };
    match content {
        // Version 3 (RFC 7292, section 4).
        [0x02, 0x01, 0x03, ..] => Some(("PKCS #12", "openssl pkcs12 -in FILE -nodes")),
        _ if content.starts_with(&SIGNED_DATA) => Some(("PKCS #7", "openssl pkcs7 -inform DER -in FILE -print_certs")),
        _ => None,
    }
}

/// A `List` is its items, or the place where they should be; how deep they nest is bounded where they are read.
fn flatten(document: Located) -> Vec<Result<Located, Place>> {
    if !document.is_list() {
        return vec![Ok(document)];
    }
    let place = document.place_of("items");
    match document.into_items() {
        Some(items) => items.into_iter().flat_map(flatten).collect(),
        None => vec![Err(place)],
    }
}
