//! Permissions of the user `agent`: the requests `CreateAcls` and `DeleteAcls` of Kafka's protocol,
//! which the client library lacks.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Properties of a broker that checks permissions. Connections without a user have all of them.
pub const LOOKED_AT: &str = "\
     authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
     super.users=User:ANONYMOUS\n";

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
/// Current brokers support no earlier version.
const VERSION: i16 = 1;

/// A rule, or a filter that finds it.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// `topic` or `transactional id`.
    pub on: &'a str,
    /// Name of the topic or transactional id.
    pub name: &'a str,
    /// Operation name of `kafka-acls.sh`.
    pub operation: &'a str,
    /// Whether it allows or denies the operation.
    pub allows: bool,
}

impl Rule<'_> {
    /// Codes of Kafka's protocol.
    fn bytes(self, name: &mut Vec<u8>) {
        let Self { on, name: of, operation, allows } = self;
        name.push(if on == "topic" { 2 } else { 5 });
        text(name, of);
        name.push(3); // this very name
        text(name, "User:agent");
        text(name, "*");
        name.push(match operation {
            "Read" => 3,
            "Write" => 4,
            "Create" => 5,
            "Delete" => 6,
            "DescribeConfigs" => 10,
            other => panic!("{other} is not known here"),
        });
        name.push(if allows { 3 } else { 2 });
    }

    /// Adds the rule at the broker of this address, which accepts requests without a user.
    ///
    /// # Panics
    ///
    /// When the broker rejects it.
    pub fn add(self, broker: &str) {
        ask(broker, CREATE_ACLS, self);
    }

    /// Removes the rule.
    ///
    /// # Panics
    ///
    /// When the broker rejects it.
    pub fn remove(self, broker: &str) {
        ask(broker, DELETE_ACLS, self);
    }
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u16).to_be_bytes());
    to.extend(text.as_bytes());
}

/// Sends one rule in a request; in the response, the error follows the throttle time and a count.
fn ask(broker: &str, request: i16, rule: Rule<'_>) {
    let mut bytes = [request.to_be_bytes(), VERSION.to_be_bytes()].concat();
    bytes.extend([0; 4]);
    text(&mut bytes, "test");
    bytes.extend(1_u32.to_be_bytes());
    rule.bytes(&mut bytes);
    let mut stream = TcpStream::connect(broker).expect("a broker");
    let sized = [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat();
    stream.write_all(&sized).expect("a request is sent");
    let mut head = [0; 18];
    stream.read_exact(&mut head).expect("an answer");
    let (count, error) = (&head[12..16], &head[16..18]);
    assert!(count == [0, 0, 0, 1] && error == [0, 0], "{rule:?}: {head:?}");
}
