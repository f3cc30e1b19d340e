//! The only way to an address that somebody else chose: the addresses that are allowed, the client that calls no others, and
//! the messages.

pub mod address;
pub mod format;
mod mask;
pub mod sender;
