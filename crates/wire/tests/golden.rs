//! Goal: messages between two versions keep their meaning. Method: the bytes of every message are
//! compared with earlier versions, and messages of a newer peer (with unknown fields and
//! kinds) are read.

use aqueduct_wire::v1::{
    Busy, Committed, DeadLettered, Draining, FromReceiver, FromSender, Hello, Ledger, Ledgers,
    Outlet, Put, Reason, Refused, Routing, Stored, Welcome, from_receiver, from_sender,
};
use aqueduct_wire::{Packing, keys, pack};
use pipeline::{Batch, Epoch, Floors, Identity, KeySet, Origin, Sequence};
use prost::Message;

fn identity(sequence: u64) -> Identity {
    Identity { origin: Origin([0xab; 16]), epoch: Epoch(2), sequence: Sequence(sequence) }
}

fn keys() -> bytes::Bytes {
    keys::encode(&[identity(5), identity(6), identity(300)].into_iter().collect::<KeySet>())
}

fn hex(message: &impl Message) -> String {
    message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sender(message: from_sender::Message) -> FromSender {
    FromSender { message: Some(message) }
}

fn receiver(message: from_receiver::Message) -> FromReceiver {
    FromReceiver { message: Some(message) }
}

const ORIGIN: &str = "abababababababababababababababab";

#[test]
fn the_senders_messages_are_these_bytes() {
    let mut closed = Floors::default();
    closed.raise(Origin([0xab; 16]), Epoch(2));
    let hello = Hello {
        agent: "aqueduct 0.1.0".into(),
        features: vec!["zstd".into()],
        keys: keys(),
        floors: keys::encode_floors(&closed),
    };
    let set = format!("01{ORIGIN}02020501a50200");
    assert_eq!(
        hex(&sender(from_sender::Message::Hello(hello))),
        format!("0a450a0e617175656475637420302e312e3012047a7374641a18{set}a2011201{ORIGIN}02"),
    );
    let put = pack(identity(5), &Batch::of(["GET /"]), Packing::Plain);
    let batch = "020100000000010001000000000000000000000006000000 05474554202f0a".replace(' ', "");
    let digest = "e173abb366c26bdb";
    assert_eq!(
        hex(&sender(from_sender::Message::Put(put))),
        format!("12440a160a10{ORIGIN}1002180511{digest}201f7a1f{batch}"),
    );
}

#[test]
fn the_receivers_messages_are_these_bytes() {
    let set = format!("01{ORIGIN}02020501a50200");
    let welcome = Welcome {
        agent: "a".into(),
        features: vec!["zstd".into()],
        incarnation: 1,
        stored_keys: keys(),
        committed_keys: keys(),
        window_batches: 64,
        window_bytes: 8 << 20,
        body_max: 16 << 20,
        body_cut: 64 << 10,
        routing: Some(Routing { digest: 7, text: "r".into() }),
        dead_letters: Vec::new(),
    };
    let outlet = Outlet { failing: true, detail: "no".into(), ..Outlet::default() };
    let expected = [
        (
            from_receiver::Message::Welcome(welcome),
            format!(
                "0a640a016112047a737464190100000000000000 \
                 2218{set}2a18{set}304038808080044080808008 520c090700000000000000120172 58808004"
            ),
        ),
        (from_receiver::Message::Stored(Stored { keys: keys() }), format!("121a0a18{set}")),
        (
            from_receiver::Message::Committed(Committed { keys: keys(), dead_letters: vec![] }),
            format!("1a1a0a18{set}"),
        ),
        (
            from_receiver::Message::Committed(Committed {
                keys: keys(),
                dead_letters: vec![DeadLettered { identity: Some(identity(5).into()), events: 3 }],
            }),
            format!("1a360a18{set}121a0a160a10{ORIGIN}100218051003"),
        ),
        (
            from_receiver::Message::Busy(Busy { retry_after_ms: 500, keys: keys() }),
            format!("221d08f4031218{set}"),
        ),
        (
            from_receiver::Message::Refused(Refused {
                identity: Some(identity(5).into()),
                reason: Reason::TooLarge.into(),
                detail: "no".into(),
            }),
            format!("2a1e0a160a10{ORIGIN}1002180510011a026e6f"),
        ),
        (from_receiver::Message::Draining(Draining {}), "3200".to_owned()),
        (from_receiver::Message::Outlet(outlet), "3a06080112026e6f".to_owned()),
        (
            from_receiver::Message::Ledgers(Ledgers {
                ledgers: vec![Ledger {
                    dataset: "d".into(),
                    identity: "i".into(),
                    follows: vec!["f".into()],
                    entries: 5,
                    read_ms_ago: 7,
                }],
            }),
            "420f 0a0d 0a0164 120169 1a0166 2005 2807".to_owned(),
        ),
    ];
    for (message, bytes) in expected {
        assert_eq!(hex(&receiver(message)), bytes.replace(' ', ""));
    }
}

/// A newer peer's field (number 99, any type) and kind of message (oneof number 77).
#[test]
fn ignores_additions_of_a_newer_peer() {
    let put = pack(identity(5), &Batch::of(["GET /"]), Packing::Plain);
    let mut bytes = put.encode_to_vec();
    bytes.extend_from_slice(&[0x9a, 0x06, 0x03, b'n', b'e', b'w']);
    assert_eq!(Put::decode(bytes.as_slice()).unwrap(), put);

    let unknown_kind = [0xea, 0x04, 0x02, 0x08, 0x01];
    assert_eq!(FromSender::decode(unknown_kind.as_slice()).unwrap().message, None);
    assert_eq!(FromReceiver::decode(unknown_kind.as_slice()).unwrap().message, None);
}

/// The first version's Welcome without anything that later versions may add.
#[test]
fn an_older_peers_silence_is_read_as_no_limit_and_nothing_known() {
    let welcome = Welcome::decode(&[0x0a, 0x01, b'a'][..]).unwrap();
    assert_eq!((welcome.window_batches, welcome.window_bytes, welcome.body_max), (0, 0, 0));
    assert_eq!(welcome.routing, None);
    assert_eq!(keys::decode(welcome.stored_keys), Ok(KeySet::default()));
}
