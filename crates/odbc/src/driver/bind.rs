//! Parameters.

use odbc_api::buffers::Indicator;
use odbc_api::parameter::{Binary, InputParameter, VarCell, VarKind, VarWCharBox, WideText};
use odbc_api::{Bit, Nullable};

use crate::types::Value;

/// A parameter.
pub(super) fn bound(value: &Value) -> Box<dyn InputParameter> {
    match value {
        Value::Null => Box::new(VarWCharBox::null()),
        Value::Bool(it) => Box::new(Nullable::new(Bit::from_bool(*it))),
        Value::Int(it) => Box::new(Nullable::new(*it)),
        Value::Single(it) => Box::new(Nullable::new(*it)),
        Value::Double(it) => Box::new(Nullable::new(*it)),
        Value::Text(it) => Box::new(cell::<WideText>(it.encode_utf16().collect(), 0)),
        Value::Bytes(it) => Box::new(cell::<Binary>(it.clone(), 0)),
    }
}

/// A buffer with a unit of room behind the value: some drivers refuse an empty one.
fn cell<K: VarKind>(mut value: Vec<K::Element>, zero: K::Element) -> VarCell<Box<[K::Element]>, K> {
    let length = value.len() * size_of::<K::Element>();
    if value.is_empty() {
        value.push(zero);
    }
    VarCell::from_buffer(value.into_boxed_slice(), Indicator::Length(length))
}
