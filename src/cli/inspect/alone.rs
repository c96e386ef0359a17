//! What is alarming about a thing, whatever else there is.

use std::path::Path;

use super::alarm::{Alarm, AlarmCode, administrators, alarm};
use super::certificate::Certificate;
use crate::duration::{DAY, about};
use crate::escape::printable;
use crate::policy::Reserved;
use crate::request::SigningRequest;

/// The longest life that a request may ask for without being alarming, in seconds: as for the hazard `long-lifetime`.
const LONG_REQUEST: i64 = 30 * DAY;
/// The longest life of a client certificate that is not alarming, in seconds. Signers give a year where nobody asks for
/// less; with a bound of 30 days every certificate would be alarming, the others because they are expiring.
const LONG: i64 = 90 * DAY;

/// What whoever has its key may do.
pub(super) fn powers(certificate: &Certificate) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    if certificate.is_client() {
        let (user, groups) = (certificate.subject.common_name(), certificate.subject.organizations());
        alarms.extend(names(user.into_iter(), groups.into_iter()));
        let lasts = certificate.not_after - certificate.not_before;
        if lasts > LONG {
            let message = format!("it is a client certificate for {}, and nothing revokes one", about(lasts));
            alarms.push(alarm(AlarmCode::LongLifetime, message));
        }
    }
    if certificate.is_authority() && certificate.is_named_for_clients() {
        let message = "it is a client certificate and a CA: whoever has its key makes users";
        alarms.push(alarm(AlarmCode::ClientAndCa, message));
    }
    alarms
}

/// What is alarming about a user name and groups.
fn names<'a>(user: impl Iterator<Item = &'a str>, groups: impl Iterator<Item = &'a str>) -> Vec<Alarm> {
    let reserved = Reserved::default();
    let mut alarms = Vec::new();
    for (name, is_group) in user.map(|user| (user, false)).chain(groups.map(|group| (group, true))) {
        let shown = printable(name);
        if let Some(why) = administrators(name).filter(|_| is_group) {
            alarms.push(alarm(AlarmCode::ClusterAdmin, format!("its group is \"{shown}\", {why}")));
        } else if reserved.prefix_of(name).is_some() {
            let message = format!("\"{shown}\" is a name that Kubernetes reserves for itself");
            alarms.push(alarm(AlarmCode::ReservedName, message));
        }
    }
    alarms
}

pub(super) fn weaknesses(certificate: &Certificate) -> Vec<Alarm> {
    let key = &certificate.key;
    let weak = key.weakness().map(|why| alarm(AlarmCode::WeakKey, format!("its key is {key}: {why}")));
    let hash = certificate.weak_hash().map(|hash| {
        alarm(
            AlarmCode::WeakSignature,
            format!("it is signed with {hash}, which others can make fit another certificate"),
        )
    });
    weak.into_iter().chain(hash).collect()
}

/// Whether others than its owner may read or write a file.
#[cfg(unix)]
pub(super) fn file_mode(path: &Path) -> Option<Alarm> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = printable(&path.display().to_string());
    (mode & 0o077 != 0).then(|| {
        alarm(AlarmCode::FileMode, format!("others than its owner may use {shown} (mode {mode:04o}): chmod 600"))
    })
}

#[cfg(not(unix))]
pub(super) fn file_mode(_path: &Path) -> Option<Alarm> {
    None
}

/// What is alarming about a request.
pub(super) fn request(request: &SigningRequest) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    match &request.content {
        Err(error) => {
            alarms.push(alarm(AlarmCode::RequestRefused, format!("{} ({})", error.message, error.code)));
            if request.asks_for_masters {
                let why = "it asks for \"system:masters\", whose members may do everything and cannot be stopped";
                alarms.push(alarm(AlarmCode::ClusterAdmin, why));
            }
        }
        Ok(pkcs10) => {
            let subject = &pkcs10.subject;
            let (user, groups) = (subject.common_name.iter(), subject.organizations.iter());
            alarms.extend(names(user.map(String::as_str), groups.map(String::as_str)));
            if request.asks_for_masters && alarms.iter().all(|alarm| alarm.code != AlarmCode::ClusterAdmin) {
                alarms.push(alarm(AlarmCode::ClusterAdmin, "it asks for \"system:masters\" somewhere"));
            }
        }
    }
    if request.envelope.expiration_seconds.is_some_and(|seconds| i64::from(seconds) > LONG_REQUEST) {
        let message = "it asks for more than 30 days, and nothing revokes a client certificate";
        alarms.push(alarm(AlarmCode::LongLifetime, message));
    }
    alarms
}
