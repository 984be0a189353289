//! Objects in the format of Java's `ObjectOutputStream`, as far as key stores use them: strings,
//! arrays of bytes, and objects with such fields. No class is loaded and no code of a class is run.

use std::rc::Rc;

use super::bytes::Bytes;

/// Maximum depth of objects within objects.
const DEPTH_MAX: usize = 16;

/// Maximum number of handles of an object: classes, fields and values that can be referred to.
const HANDLES_MAX: usize = 1_024;

const STREAM: [u8; 4] = [0xac, 0xed, 0, 5];
const NULL: u8 = 0x70;
const REFERENCE: u8 = 0x71;
const CLASS: u8 = 0x72;
const OBJECT: u8 = 0x73;
const STRING: u8 = 0x74;
const ARRAY: u8 = 0x75;
const END: u8 = 0x78;

/// A class with own code for its fields, or without fields that are written.
const PLAIN: u8 = 2;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Number,
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    /// Its fields, with inherited ones first.
    Object(Rc<[(Rc<str>, Value)]>),
}

impl Value {
    /// Returns a field of bytes.
    pub(super) fn bytes(&self, name: &str) -> Option<Rc<[u8]>> {
        match self.field(name)? {
            Self::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Returns a field of text.
    pub(super) fn text(&self, name: &str) -> Option<Rc<str>> {
        match self.field(name)? {
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn field(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value)
    }
}

struct Class {
    /// Name and type of each field.
    fields: Vec<(Rc<str>, u8)>,
    parent: Option<Rc<Self>>,
    is_bytes: bool,
}

/// Objects that later parts of the stream can refer to.
#[derive(Clone)]
enum Handle {
    Class(Rc<Class>),
    Value(Value),
}

/// Reads one object with the head of its stream; `None` if it is invalid or has another type.
pub(super) fn read(bytes: &mut Bytes<'_>) -> Option<Value> {
    (bytes.take(4)? == STREAM).then_some(())?;
    Reader { bytes, handles: Vec::new() }.value(0)
}

struct Reader<'a, 'b> {
    bytes: &'a mut Bytes<'b>,
    handles: Vec<Handle>,
}

impl Reader<'_, '_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        (depth < DEPTH_MAX).then_some(())?;
        match self.bytes.u8()? {
            NULL => Some(Value::Null),
            REFERENCE => match self.referred()? {
                Handle::Value(value) => Some(value),
                Handle::Class(_) => None,
            },
            STRING => {
                let text = Value::Text(self.bytes.text()?.into());
                self.named(Handle::Value(text.clone()))?;
                Some(text)
            }
            ARRAY => {
                let class = self.class(depth)?;
                let at = self.named(Handle::Value(Value::Null))?;
                let length = usize::try_from(self.bytes.u32()?).ok()?;
                class.is_bytes.then_some(())?;
                let array = Value::Bytes(self.bytes.take(length)?.into());
                self.handles[at] = Handle::Value(array.clone());
                Some(array)
            }
            OBJECT => {
                let class = self.class(depth)?;
                let at = self.named(Handle::Value(Value::Null))?;
                let mut fields = Vec::new();
                self.fields(&class, depth, &mut fields)?;
                let object = Value::Object(fields.into());
                self.handles[at] = Handle::Value(object.clone());
                Some(object)
            }
            _ => None,
        }
    }

    /// Returns the fields of a class, after inherited ones.
    fn fields(
        &mut self,
        class: &Class,
        depth: usize,
        all: &mut Vec<(Rc<str>, Value)>,
    ) -> Option<()> {
        if let Some(parent) = &class.parent {
            self.fields(parent, depth, all)?;
        }
        for (name, kind) in &class.fields {
            let width = match kind {
                b'B' | b'Z' => 1,
                b'C' | b'S' => 2,
                b'I' | b'F' => 4,
                b'J' | b'D' => 8,
                _ => 0,
            };
            let value = match width {
                0 => self.value(depth + 1)?,
                width => self.bytes.take(width).map(|_| Value::Number)?,
            };
            all.push((name.clone(), value));
        }
        Some(())
    }

    fn class(&mut self, depth: usize) -> Option<Rc<Class>> {
        self.optional_class(depth).flatten()
    }

    /// Reads a class, or its absence.
    fn optional_class(&mut self, depth: usize) -> Option<Option<Rc<Class>>> {
        (depth < DEPTH_MAX).then_some(())?;
        match self.bytes.u8()? {
            NULL => return Some(None),
            REFERENCE => match self.referred()? {
                Handle::Class(class) => return Some(Some(class)),
                Handle::Value(_) => return None,
            },
            CLASS => {}
            _ => return None,
        }
        let is_bytes = self.bytes.text()? == "[B";
        self.bytes.take(8)?; // its version
        // Its handle precedes the handles of its parts.
        let at = self.named(Handle::Value(Value::Null))?;
        (self.bytes.u8()? == PLAIN).then_some(())?;
        let mut fields = Vec::new();
        for _ in 0..self.bytes.u16()? {
            let kind = self.bytes.u8()?;
            let name: Rc<str> = self.bytes.text()?.into();
            if matches!(kind, b'L' | b'[') {
                self.value(depth + 1)?; // the name of its type
            }
            fields.push((name, kind));
        }
        (self.bytes.u8()? == END).then_some(())?;
        let parent = self.optional_class(depth + 1)?;
        let class = Rc::new(Class { fields, parent, is_bytes });
        self.handles[at] = Handle::Class(class.clone());
        Some(Some(class))
    }

    fn named(&mut self, handle: Handle) -> Option<usize> {
        (self.handles.len() < HANDLES_MAX).then_some(())?;
        self.handles.push(handle);
        Some(self.handles.len() - 1)
    }

    fn referred(&mut self) -> Option<Handle> {
        let at = self.bytes.u32()?.checked_sub(0x7e_0000)?;
        self.handles.get(usize::try_from(at).ok()?).cloned()
    }
}
