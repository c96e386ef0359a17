//! Nodes: what the API server has of each, read tolerantly, and whose a name or an address is.
//!
//! Pure, like [`crate::request`]: the controller fills the index from a watch, the offline commands
//! from files. Kubelets write most of their own Node, so nothing in one can make anything fail but
//! that Node, and what two Nodes claim is nobody's.

mod index;
mod object;

pub use index::{NodeUnknown, Nodes};
pub use object::{AddressType, Host, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_LABEL_BYTES, MAX_LABELS, Node, NodeAddress};
