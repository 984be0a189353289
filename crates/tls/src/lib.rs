//! TLS for every listener and every client: a wrapper of the stream, by rustls.
//!
//! ```text
//!   settings ─► Server ─┬─► files (PEM, PKCS#12, JKS), read again when they change
//!               Client ─┘
//!   stream ─► Server::wrap ─► stream     the first read or write makes the handshake
//!   stream ─► Client::wrap ─► stream     makes the handshake immediately
//! ```
//!
//! The handshake does not block a listener's accept loop: it runs in the task of its connection,
//! has a time limit, and occupies the place of the connection. Certificates are checked for changes
//! at a handshake, at most once a second; open connections keep theirs.
//!
//! As an alternative to client certificates, a client proves its name by a token: [`Tokens`] of a
//! listener, [`TokenFile`] of a client.

mod brokers;
mod certificates;
mod client;
mod clients;
mod jks;
mod material;
mod names;
mod pem;
mod plain;
mod problem;
mod secret_file;
mod server;
mod settings;
mod stream;
mod tokens;
mod validity;
mod verify;
mod watched;

pub use brokers::Brokers;
pub use certificates::CertificateFile;
pub use client::{Client, Dialer};
pub use names::{ClientNames, Proof};
pub use pem::{Pem, PemClient};
pub use problem::{TlsError, is_explained, refused_by_http};
pub use secret_file::{SecretFile, SecretFileError};
pub use server::{Prelude, Server, Visitor};
pub use settings::{ClientAuth, ClientTls, MinVersion, ServerTls};
pub use tokens::{Token, TokenFile, Tokens, bearer};
pub use validity::{OwnCertificate, date};

#[cfg(test)]
mod tests;
