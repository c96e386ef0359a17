//! The `countersign` command.

use countersign::cli::{self, Exit};

fn main() -> Exit {
    match cli::run() {
        Ok(exit) => exit,
        Err(error) => {
            cli::complain(&error);
            Exit::Unconcluded
        }
    }
}
