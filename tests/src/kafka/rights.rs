//! Rights of the user `agent` at a broker that looks at them: the requests `CreateAcls` and
//! `DeleteAcls` of Kafka's protocol, which the client has not.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Properties of a broker that looks at rights. What comes without a user has all of them.
pub const LOOKED_AT: &str = "\
     authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
     super.users=User:ANONYMOUS\n";

const CREATE_ACLS: i16 = 30;
const DELETE_ACLS: i16 = 31;
/// Nothing before it is known to brokers of today.
const VERSION: i16 = 1;

/// A rule, or what it is found by.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// `topic` or `transactional id`.
    pub on: &'a str,
    /// Its name.
    pub name: &'a str,
    /// As `kafka-acls.sh` calls it.
    pub operation: &'a str,
    /// Whether it allows this, or forbids it.
    pub allows: bool,
}

impl Rule<'_> {
    /// Numbers of Kafka's protocol.
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

    /// Adds it at the broker of this address, which takes requests without a user.
    ///
    /// # Panics
    ///
    /// When the broker does not do so.
    pub fn add(self, broker: &str) {
        ask(broker, CREATE_ACLS, self);
    }

    /// Takes it away again.
    ///
    /// # Panics
    ///
    /// When the broker does not do so.
    pub fn remove(self, broker: &str) {
        ask(broker, DELETE_ACLS, self);
    }
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u16).to_be_bytes());
    to.extend(text.as_bytes());
}

/// One rule in one request; the answer has its error behind the time and a count.
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
