//! What was found, for people.

use std::fmt::Write;

use super::authority::Role;
use super::certificate::{Certificate, Signed};
use super::gather::Inventory;
use super::judge::{About, Issued, Item, Settings, SignedBy};
use super::key::Key;
use super::kubeconfig::{Cluster, Credential, Kubeconfig, Trust};
use super::time::instant;
use crate::cli::paint::Paint;
use crate::duration::{self, about};
use crate::escape::printable;
use crate::request::SigningRequest;

pub(super) fn render(inventory: &Inventory, items: &[Item<'_>], settings: &Settings, paint: Paint) -> String {
    let mut out = String::new();
    // A key that belongs to a certificate stands with that.
    let stands_elsewhere = |item: &&Item<'_>| matches!(&item.about, About::Key { of, .. } if !of.is_empty());
    for item in items.iter().filter(|item| !stands_elsewhere(item) || !item.alarms.is_empty()) {
        let _ = writeln!(out, "{}", paint.strong(&printable(item.source)));
        let lines = match &item.about {
            About::Request(request) => of_request(request),
            About::Certificate(issued) => of_certificate(issued, settings.now),
            About::Key { key, of } => of_key(key, of),
            About::Kubeconfig(kubeconfig) => of_kubeconfig(inventory, kubeconfig),
        };
        let also = (!item.also_in.is_empty()).then(|| ("Also in".to_owned(), list(&item.also_in)));
        for (name, value) in lines.into_iter().chain(also) {
            let _ = writeln!(out, "  {name:<22}{value}");
        }
        for alarm in &item.alarms {
            let code = paint.faint(&format!("[{}]", alarm.code));
            let _ = writeln!(out, "  {} {} {code}", paint.alarm("alarming:"), alarm.message);
        }
    }
    let alarming = items.iter().filter(|item| !item.alarms.is_empty()).count();
    let summary = format!("{} inspected, {alarming} alarming", items.len());
    let summary = if alarming == 0 { paint.good(&summary) } else { paint.alarm(&summary) };
    let _ = writeln!(out, "\n{summary}");
    out
}

type Lines = Vec<(String, String)>;

fn line(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn of_request(request: &SigningRequest) -> Lines {
    let envelope = &request.envelope;
    let lifetime = envelope.expiration_seconds.map(|seconds| duration::exact(seconds.into()));
    let mut lines = vec![
        line("Request", or_none(printable(&envelope.name))),
        line("Signer", printable(&envelope.signer_name)),
        line("Requestor", printable(&envelope.username)),
        line("Requestor's groups", list(&envelope.groups)),
        line("Usages", list(&envelope.usages)),
        line("Lifetime asked for", lifetime.unwrap_or_else(|| "the signer's own maximum".to_owned())),
    ];
    if let Ok(pkcs10) = &request.content {
        let (subject, sans) = (&pkcs10.subject, &pkcs10.sans);
        let addresses: Vec<String> = sans.ip_addresses.iter().map(ToString::to_string).collect();
        lines.extend([
            line("User name (CN)", or_none(printable(subject.common_name.as_deref().unwrap_or_default()))),
            line("Groups (O)", list(&subject.organizations)),
        ]);
        lines.extend(stated("OU", &subject.organizational_units));
        lines.extend(stated("DNS names", &sans.dns_names));
        lines.extend(stated("IP addresses", &addresses));
        lines.extend(stated("URIs", &sans.uris));
        lines.extend(stated("Email addresses", &sans.email_addresses));
        lines.extend([line("Key", pkcs10.key.to_string()), line("SHA-256", pkcs10.sha256_hex())]);
    }
    lines
}

fn of_certificate(issued: &Issued<'_>, now: i64) -> Lines {
    let certificate = issued.certificate;
    let subject = &certificate.subject;
    let mut lines = vec![line("Certificate", kind(certificate, issued))];
    if certificate.is_authority() {
        lines.push(line("Subject", or_none(subject.to_string())));
    } else {
        lines.push(line("User name (CN)", or_none(printable(subject.common_name().unwrap_or_default()))));
        lines.push(line("Groups (O)", list(&subject.organizations())));
        lines.extend(stated("OU", &subject.organizational_units()));
        lines.extend(subject.uid().map(|uid| line("UID", printable(uid))));
    }
    lines.push(line("Issuer", or_none(certificate.issuer.to_string())));
    lines.push(line("Signed by", signed_by(&issued.signer)));
    lines.push(line("Usages", list(&certificate.usages)));
    lines.extend(stated("DNS names", &certificate.dns_names));
    lines.extend(stated("IP addresses", &certificate.ip_addresses));
    lines.extend(stated("URIs", &certificate.uris));
    lines.extend(stated("Email addresses", &certificate.email_addresses));
    lines.extend(stated("Other names", &certificate.other_names));
    lines.push(line("Valid", validity(certificate, now)));
    let keys = if issued.keys.is_empty() { String::new() } else { format!(", {}", list(&issued.keys)) };
    lines.push(line("Key", format!("{}{keys}", certificate.key)));
    lines.push(line("Signature", certificate.signature.clone()));
    lines.push(line("Serial", certificate.serial.clone()));
    lines.push(line("SHA-256", certificate.sha256.clone()));
    lines
}

fn kind(certificate: &Certificate, issued: &Issued<'_>) -> String {
    let purpose = certificate.purpose();
    let roles: Vec<&str> = issued.roles.iter().map(|role| role.as_str()).collect();
    match (roles.is_empty(), certificate.authority.and_then(|authority| authority.below)) {
        (true, None) => purpose.to_owned(),
        (false, None) => format!("{} {purpose}", roles.join(" and ")),
        (true, Some(below)) => format!("{purpose}, with at most {below} below"),
        (false, Some(below)) => format!("{} {purpose}, with at most {below} below", roles.join(" and ")),
    }
}

fn signed_by(signer: &SignedBy<'_>) -> String {
    match signer {
        SignedBy::Itself => "itself".to_owned(),
        SignedBy::Unknown => "a CA that is not among the files".to_owned(),
        SignedBy::Other { source, roles, fits, .. } => {
            let roles: Vec<&str> = roles.iter().map(|role: &Role| role.as_str()).collect();
            let what = if roles.is_empty() { String::new() } else { format!("the {} CA, ", roles.join(" and ")) };
            let sure = match fits {
                Signed::Yes => "",
                Signed::Unknown => " by name (its signature is of an algorithm that is not verified here)",
                Signed::No => " by name only",
            };
            format!("{what}{}{sure}", printable(source))
        }
    }
}

fn validity(certificate: &Certificate, now: i64) -> String {
    let (begin, end) = (certificate.not_before, certificate.not_after);
    let left = end - now;
    let said = match () {
        () if left < 0 => format!("expired {} ago", about(-left)),
        () if now < begin => format!("not for {} yet", about(begin - now)),
        () => format!("{} left", about(left)),
    };
    format!("{} to {}, {said}", instant(begin), instant(end))
}

fn of_key(key: &Key, of: &[&str]) -> Lines {
    let what = if key.is_private() { "Private key" } else { "Public key" };
    let mut lines = Vec::new();
    lines.push(match key {
        Key::Public(key) | Key::Private(key) => line(what, key.to_string()),
        Key::Opaque(why) => line(what, format!("not compared with any certificate, because {why}")),
        Key::Broken => line(what, "of two parts that do not fit each other"),
    });
    lines.extend(stated("Of", of));
    lines
}

fn of_kubeconfig(inventory: &Inventory, kubeconfig: &Kubeconfig) -> Lines {
    let mut lines =
        vec![line("Kubeconfig", format!("current context {}", or_none(printable(&kubeconfig.current_context))))];
    for context in &kubeconfig.contexts {
        let (user, cluster) = (printable(&context.user), printable(&context.cluster));
        lines.push(line("Context", format!("{}: user {user} of cluster {cluster}", printable(&context.name))));
    }
    for cluster in &kubeconfig.clusters {
        let trusts = trusts(inventory, cluster);
        let (name, server) = (printable(&cluster.name), printable(&cluster.server));
        let through =
            if cluster.proxy.is_empty() { String::new() } else { format!(" through {}", printable(&cluster.proxy)) };
        lines.push(line("Cluster", format!("{name}: {server}{through}, {trusts}")));
    }
    for user in &kubeconfig.users {
        let mut credentials: Vec<String> = user.credentials.iter().map(credential).collect();
        if !user.impersonates.is_empty() {
            credentials.push(format!("impersonates {}", printable(&user.impersonates)));
        }
        if !user.impersonates_groups.is_empty() {
            credentials.push(format!("impersonates the groups {}", list(&user.impersonates_groups)));
        }
        let shown = if credentials.is_empty() { "no credential".to_owned() } else { credentials.join(", ") };
        lines.push(line("User", format!("{}: {shown}", printable(&user.name))));
    }
    lines
}

fn trusts(inventory: &Inventory, cluster: &Cluster) -> String {
    let authorities = || cluster.authorities().iter().map(|index| authority(inventory, *index)).collect::<Vec<_>>();
    match &cluster.trust {
        _ if cluster.insecure => "trusting whoever answers".to_owned(),
        Trust::System => "trusting the system's CAs".to_owned(),
        Trust::Authorities(_) => format!("trusting {}", authorities().join(", ")),
        Trust::Unread => "trusting what could not be read".to_owned(),
    }
}

fn authority(inventory: &Inventory, index: usize) -> String {
    let held = &inventory.certificates[index];
    format!("{} ({})", held.value.subject, printable(&held.first().source))
}

fn credential(credential: &Credential) -> String {
    match credential {
        Credential::Certificate { chain, .. } if chain.len() > 1 => {
            format!("a client certificate with {} above it", chain.len() - 1)
        }
        Credential::Certificate { .. } => "a client certificate".to_owned(),
        Credential::Unread => "a client certificate that could not be read".to_owned(),
        Credential::Token => "a bearer token".to_owned(),
        Credential::TokenFile(path) => format!("a bearer token in {}", printable(path)),
        Credential::Password => "a password".to_owned(),
        Credential::Exec(command) => format!("what {} gives", printable(command)),
        Credential::AuthProvider(name) => format!("the auth provider {}", printable(name)),
    }
}

/// A line, if there is anything to say.
fn stated<T: AsRef<str>>(name: &str, values: &[T]) -> Option<(String, String)> {
    (!values.is_empty()).then(|| line(name, list(values)))
}

fn list<T: AsRef<str>>(values: &[T]) -> String {
    or_none(values.iter().map(|value| printable(value.as_ref())).collect::<Vec<_>>().join(", "))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}
