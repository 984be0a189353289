//! TLS, once, for every listener and every client: a wrapper of the stream, by rustls.
//!
//! ```text
//!   settings ─► Server ─┬─► files (PEM, PKCS#12, JKS), read again when they change
//!               Client ─┘
//!   stream ─► Server::wrap ─► stream     the handshake is made by the first read or write
//!   stream ─► Client::wrap ─► stream     the handshake is made at once
//! ```
//!
//! A listener keeps its accept loop free: the handshake belongs to the task of its connection, has
//! a time limit, and holds the place of the connection. Certificates are looked at again at a
//! handshake, at most once a second; connections that are open keep theirs.
//!
//! Where certificates of clients are more than is wanted, a client proves its name by a token:
//! [`Tokens`] of a listener, [`TokenFile`] of a client.

mod brokers;
mod client;
#[cfg(feature = "http")]
pub mod http;
mod jks;
mod material;
mod names;
mod own;
mod pem;
mod problem;
mod secret_file;
mod server;
mod settings;
mod stream;
mod tokens;
mod verify;
mod watched;

pub use brokers::Brokers;
pub use client::{Client, Dialer};
pub use names::{ClientNames, Proof};
pub use pem::{Pem, PemClient};
pub use problem::TlsError;
pub use secret_file::{SecretFile, SecretFileError};
pub use server::{Prelude, Server};
pub use settings::{ClientAuth, ClientTls, MinVersion, ServerTls};
pub use tokens::{Token, TokenFile, Tokens, bearer};

#[cfg(test)]
mod tests;
