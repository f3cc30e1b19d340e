//! The one way to an address that somebody else chose: which addresses are allowed, the client that calls no others, and
//! what is sent there.

pub mod address;
pub mod format;
mod mask;
pub mod sender;
