//! `testbed up`: a cluster to play with. `testbed demo`: a story. `testbed build`: only build what it runs.
#![allow(clippy::print_stdout, reason = "this is a program for people")]

mod demo;

use std::io::Read;
use std::time::Instant;

use testbed::{ControlPlane, Options, Tool, binaries, goreads};

const USAGE: &str = "usage: testbed up      start a control plane, print its kubeconfig, and run until Ctrl-C
       testbed demo    tell the story of a request, from openssl to kubectl auth whoami
       testbed build   build everything that the tests run, and say where it is";

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("up") => up(),
        Some("demo") => demo::demo(),
        Some("build") => {
            for tool in Tool::ALL {
                println!("{}", tool.path()?.display());
            }
            println!("{}", binaries()?.directory().display());
            println!("{}", goreads()?.display());
            Ok(())
        }
        _ => anyhow::bail!("{USAGE}"),
    }
}

fn up() -> anyhow::Result<()> {
    let begin = Instant::now();
    let plane = ControlPlane::start(&Options::default())?;
    println!("a control plane is ready after {:.1} s; in another terminal:", begin.elapsed().as_secs_f32());
    println!("  export KUBECONFIG={}", plane.admin().kubeconfig().display());
    println!("  {} get namespaces", binaries()?.path("kubectl").display());
    println!("it runs until Ctrl-C, and leaves nothing behind but {}", plane.directory().display());
    // Ctrl-C ends this process, and with it the pipes on which everything else depends.
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    loop {
        std::thread::park();
    }
}
