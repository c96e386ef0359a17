//! The `countersign` command.

use countersign::cli::{self, Exit};

#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Exit {
    match cli::run() {
        Ok(exit) => exit,
        Err(error) => {
            cli::complain(&error);
            Exit::Unconcluded
        }
    }
}
