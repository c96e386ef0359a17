//! Credentials that expire and are replaced under a running controller.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::eventually;

use super::decisions::policy;
use super::faults::{Bench, POLICIES};
use super::{Controller, LIMIT, NAMESPACE, anyhow_if};

/// Within what time a decision is to follow the replacement.
const RECOVERED: Duration = Duration::from_secs(10);

/// A controller with a kubeconfig of its own for `example.com/NAME`, with such a policy.
fn start(bench: &Bench, name: &str) -> Controller {
    let signer = format!("example.com/{name}");
    let policy: Value = serde_json::from_str(&policy(name, &signer, Value::Null)).unwrap();
    bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    let kubeconfig = format!("--kubeconfig={}", bench.cluster.plane.file(&format!("{name}.kubeconfig")).display());
    let options = [&kubeconfig, &format!("--managed-signer={signer}"), &format!("--lease-name={name}")];
    let options: Vec<&str> = options.iter().map(|option| option.as_str()).chain(["--policy-settle=0s"]).collect();
    let controller = bench.cluster.start_replica(name, &options);
    controller.is_ready();
    is_approved(bench, &controller, name, "before");
    controller
}

fn is_approved(bench: &Bench, controller: &Controller, name: &str, what: &str) {
    let request = format!("{name}-{what}");
    bench.file(&request, &format!("example.com/{name}"));
    becomes_approved(bench, controller, &request);
}

fn becomes_approved(bench: &Bench, controller: &Controller, request: &str) {
    let approved = eventually(&format!("{request} is approved"), LIMIT, || {
        anyhow_if(bench.conditions(request) == ["Approved"], "it is pending")
    });
    approved.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
}

/// Files a request that stays pending while `controller` is refused, and waits until the log says so with `why`.
/// Then `mend` replaces the credentials: how long it took from then until the request was decided.
fn recovers(bench: &Bench, controller: &Controller, name: &str, why: &str, mend: impl FnOnce()) {
    let refused = eventually("it says that it is refused", LIMIT, || {
        let log = controller.log();
        let line = log.lines().find(|line| line.contains("does not accept the credentials"));
        anyhow_if(line.is_some_and(|line| line.contains(why)), &log)
    });
    refused.unwrap_or_else(|error| panic!("{error:#}"));
    let request = format!("{name}-refused");
    bench.file(&request, &format!("example.com/{name}"));
    // Long enough that what was confirmed before does not count any more.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(bench.conditions(&request), [""; 0]);
    mend();
    let since = Instant::now();
    becomes_approved(bench, controller, &request);
    let took = since.elapsed();
    println!("credentials, {name}: decided {took:.1?} after they were replaced");
    assert!(took < RECOVERED, "{took:?}\n{}", controller.log());
    assert!(controller.log().contains("the credentials changed and are used from now on"));
}

/// Waits until `controller` says that it uses other credentials.
fn is_noticed(controller: &Controller) {
    let noticed = eventually("it notices", LIMIT, || {
        anyhow_if(controller.log().contains("the credentials changed"), "it does not")
    });
    noticed.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
}

/// A token of the controller's account that ends with the Secret to which it is bound, at once and for good.
fn bound_token(bench: &Bench, secret: &str) -> String {
    let admin = &bench.cluster.admin;
    admin.run(&["create", "secret", "generic", secret, NAMESPACE]).unwrap();
    let bound = format!("--bound-object-name={secret}");
    admin.run(&["create", "token", "countersign", NAMESPACE, "--bound-object-kind=Secret", &bound]).unwrap()
}

#[test]
fn credentials_that_are_replaced_are_used_within_seconds_also_after_they_were_refused() {
    let bench = Bench::start();
    bench.may_have_any_lease();
    std::thread::scope(|scope| {
        scope.spawn(|| replaces_a_token(&bench));
        scope.spawn(|| replaces_a_client_certificate(&bench));
    });
}

fn replaces_a_token(bench: &Bench) {
    let file = bench.cluster.plane.file("token");
    // As editors and `kubectl create token > FILE` write it: with a line end.
    fs::write(&file, format!("{}\n", bound_token(bench, "first").trim())).unwrap();
    let kubeconfig = bench.cluster.plane.token_kubeconfig("token", "").unwrap();
    let text = fs::read_to_string(&kubeconfig).unwrap();
    fs::write(&kubeconfig, text.replace("token: \"\"", &format!("tokenFile: {}", file.display()))).unwrap();
    let controller = start(bench, "token");

    // The kubelet renews a token while it is good.
    fs::write(&file, bound_token(bench, "second")).unwrap();
    is_noticed(&controller);
    bench.cluster.admin.run(&["delete", "secret", "first", NAMESPACE]).unwrap();
    is_approved(bench, &controller, "token", "renewed");
    assert!(!controller.log().contains("does not accept"), "{}", controller.log());

    // And nobody renews one that is refused.
    bench.cluster.admin.run(&["delete", "secret", "second", NAMESPACE]).unwrap();
    let why = format!("the token in {}", file.display());
    recovers(bench, &controller, "token", &why, || fs::write(&file, bound_token(bench, "third")).unwrap());
}

fn replaces_a_client_certificate(bench: &Bench) {
    let account = "system:serviceaccount:countersign-system:countersign";
    let issue = |lives: Duration| bench.cluster.plane.short_lived_kubeconfig("expired", account, &[], lives).unwrap();
    issue(LIMIT * 100);
    let controller = start(bench, "expired");

    // Somebody renews it while it is good; if the first were used still, the second's end would not be noticed below.
    issue(Duration::from_secs(12));
    is_noticed(&controller);
    is_approved(bench, &controller, "expired", "renewed");
    assert!(!controller.log().contains("does not accept"), "{}", controller.log());

    recovers(bench, &controller, "expired", "expired.crt, which expired at 20", || drop(issue(LIMIT * 100)));
}
