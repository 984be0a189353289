//! Takes a nested value apart into the cells of its leaves, with Dremel's levels.
//!
//! Typed rows, JSON and Avro values are read alike: [`items`] and [`entries`] find the values
//! within one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ::rows::{Key, Value as Typed};
use formats::avro::schema::value::{Datum, Value as Item};
use serde_json::value::RawValue;

use super::shape::{Field, Shape};
use super::value::{Found, Problem, Value, name, noun, value};

/// A value of a leaf, or a place without one.
pub(super) struct Cell<'e> {
    pub(super) leaf: usize,
    /// `Null` for a place without a value.
    pub(super) value: Value<'e>,
    /// How many of the optional and repeated fields around the value exist.
    pub(super) def: i16,
    /// Level of the list in which the value begins a new item; 0 for a new row.
    pub(super) rep: i16,
}

/// Maximum number of cells of a value. NULL in a list has one bit in a typed row, but a cell in
/// each leaf.
const CELLS_MAX: u64 = 16 << 20;

/// A value being taken apart.
pub(super) struct Walk<'w, 'e> {
    each: &'w mut dyn FnMut(Cell<'e>),
    left: u64,
}

/// Where a value does not fit: the path from inside, the type, and the problem; `None` if a
/// required value is missing.
struct Misfit {
    path: Vec<String>,
    kind: String,
    problem: Option<Problem>,
}

/// Levels of a place.
#[derive(Clone, Copy)]
struct Place {
    def: i16,
    rep: i16,
    /// Number of lists around it.
    lists: i16,
}

impl<'w, 'e> Walk<'w, 'e> {
    pub(super) fn new(each: &'w mut dyn FnMut(Cell<'e>)) -> Self {
        Self { each, left: CELLS_MAX }
    }

    /// Passes on the cells of a column.
    ///
    /// # Errors
    /// The value does not fit. Earlier cells may already have been passed on.
    pub(super) fn column(mut self, column: &Field, found: Found<'e>) -> Result<(), String> {
        let begin = Place { def: 0, rep: 0, lists: 0 };
        self.field(column, found, begin).map_err(|Misfit { mut path, kind, problem }| {
            path.reverse();
            let path = path.join(".");
            match problem {
                Some(problem) => format!(
                    "column `{path}` ({kind}) does not accept {problem}; correct the event, or the \
                     type of the column in the encoder"
                ),
                None => format!(
                    "column `{path}` ({kind}) is required, but missing or null in the event; \
                     correct the event, or set `required = false`"
                ),
            }
        })
    }

    fn field(&mut self, field: &Field, found: Found<'e>, place: Place) -> Result<(), Misfit> {
        let misfit = |problem| {
            let (path, kind) = (vec![field.name.clone()], field.shape.to_string());
            Misfit { path, kind, problem }
        };
        if is_null(found) {
            if field.required {
                return Err(misfit(None));
            }
            return self.empty(field, place).map_err(|problem| misfit(Some(problem)));
        }
        let inner = Place { def: place.def + i16::from(!field.required), ..place };
        let mut within = Ok(());
        let mut step = |taken: Result<(), Misfit>| {
            within = taken.map_err(|mut inner| {
                inner.path.push(field.name.clone());
                inner
            });
            within.is_ok()
        };
        let read = match &field.shape {
            Shape::Leaf(kind, leaf) => {
                let value = value(*kind, found).map_err(|problem| misfit(Some(problem)))?;
                return self.cell(*leaf, value, inner).map_err(|problem| misfit(Some(problem)));
            }
            Shape::Struct(fields) => {
                let mut values = vec![Found::Missing; fields.len()];
                let mut next = 0;
                let read = entries(found, |name, value| {
                    // The fields usually have the order of the values.
                    let rest = (next..fields.len()).chain(0..next);
                    let mut named = rest.filter(|at| name.is(&fields[*at].name));
                    if let Some(at) = named.next() {
                        values[at] = value;
                        next = at + 1;
                    }
                    true
                });
                let mut pairs = fields.iter().zip(values);
                let _all = pairs.all(|(field, value)| step(self.field(field, value, inner)));
                read
            }
            Shape::List(item) => {
                let mut places = Places::new(inner);
                let read = items(found, |value| step(self.field(item, value, places.next())));
                self.end(field, &places).and(read)
            }
            Shape::Map(key, value) => {
                let mut places = Places::new(inner);
                let read = entries(found, |name, found| {
                    let place = places.next();
                    step(self.key(key, &name, place)) && step(self.field(value, found, place))
                });
                self.end(field, &places).and(read)
            }
        };
        read.map_err(|problem| misfit(Some(problem)))?;
        within
    }

    /// Passes on the cells of an empty list or map.
    fn end(&mut self, field: &Field, places: &Places) -> Result<(), Problem> {
        if !places.is_empty {
            return Ok(());
        }
        match &field.shape {
            Shape::List(item) => self.empty(item, places.inner),
            Shape::Map(key, value) => {
                self.empty(key, places.inner)?;
                self.empty(value, places.inner)
            }
            Shape::Leaf(..) | Shape::Struct(_) => Ok(()),
        }
    }

    fn key(&mut self, field: &Field, name: &Name<'e>, place: Place) -> Result<(), Misfit> {
        let Shape::Leaf(kind, leaf) = field.shape else { unreachable!("a key is not nested") };
        let key = match name {
            Name::Text(Cow::Borrowed(text)) => value(kind, Found::Text(text.as_bytes())),
            Name::Text(Cow::Owned(text)) => {
                value(kind, Found::Text(text.as_bytes())).map(Value::into_owned)
            }
            Name::Value(key) => value(kind, Found::Typed(*key)),
        };
        let put = key.and_then(|key| self.cell(leaf, key, place));
        put.map_err(|problem| {
            let (path, kind) = (vec![field.name.clone()], kind.to_string());
            Misfit { path, kind, problem: Some(problem) }
        })
    }

    /// Passes on a place without a value for each leaf.
    fn empty(&mut self, field: &Field, place: Place) -> Result<(), Problem> {
        match &field.shape {
            Shape::Leaf(_, leaf) => self.cell(*leaf, Value::Null, place),
            Shape::List(item) => self.empty(item, place),
            Shape::Struct(fields) => fields.iter().try_for_each(|field| self.empty(field, place)),
            Shape::Map(key, value) => {
                self.empty(key, place)?;
                self.empty(value, place)
            }
        }
    }

    fn cell(&mut self, leaf: usize, value: Value<'e>, place: Place) -> Result<(), Problem> {
        let left = self.left.checked_sub(1);
        self.left =
            left.ok_or("the event has more than 16,777,216 values; split it at the sender")?;
        (self.each)(Cell { leaf, value, def: place.def, rep: place.rep });
        Ok(())
    }
}

/// Places of the items of a list or map.
struct Places {
    inner: Place,
    is_empty: bool,
}

impl Places {
    fn new(inner: Place) -> Self {
        Self { inner, is_empty: true }
    }

    fn next(&mut self) -> Place {
        let Place { def, rep, lists } = self.inner;
        let rep = if self.is_empty { rep } else { lists + 1 };
        self.is_empty = false;
        Place { def: def + 1, rep, lists: lists + 1 }
    }
}

/// The name of a field, or a key of a map.
enum Name<'e> {
    Text(Cow<'e, str>),
    Value(Typed<'e>),
}

impl Name<'_> {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Text(text) => text == name,
            Self::Value(key) => *key == Typed::Text(name),
        }
    }
}

fn is_null(found: Found<'_>) -> bool {
    match found {
        Found::Missing | Found::Typed(Typed::Null) => true,
        Found::Json(raw) => raw.get() == "null",
        Found::Avro(datum) => datum.value() == Item::Null,
        Found::Text(_) | Found::Typed(_) => false,
    }
}

/// Returns the JSON of a value.
fn json<'e>(found: Found<'e>) -> Result<&'e str, Problem> {
    match found {
        Found::Json(raw) => Ok(raw.get()),
        Found::Typed(Typed::Json(text)) => Ok(text),
        Found::Text(text) => str::from_utf8(text).map_err(|_| super::value::NO_UTF8),
        Found::Typed(other) => Err(other.noun()),
        Found::Avro(datum) => Err(noun(datum.value())),
        Found::Missing => Err("null"),
    }
}

/// Passes on the items of a list, until `each` returns false.
fn items<'e>(found: Found<'e>, mut each: impl FnMut(Found<'e>) -> bool) -> Result<(), Problem> {
    match found {
        Found::Typed(Typed::List(list)) => {
            let _all = list.items().all(|(_, value)| each(Found::Typed(value)));
        }
        Found::Avro(datum) if datum.value() == Item::Array => {
            until(datum, |_, inner| each(Found::Avro(inner)));
        }
        other => {
            let text = json(other)?.trim_ascii();
            let list = text.starts_with('[').then(|| serde_json::from_str::<Vec<&RawValue>>(text));
            let Some(Ok(list)) = list else { return Err(name(text)) };
            let _all = list.into_iter().all(|raw| each(Found::Json(raw)));
        }
    }
    Ok(())
}

/// Passes on the fields of a struct or the entries of a map, until `each` returns false.
fn entries<'e>(
    found: Found<'e>,
    mut each: impl FnMut(Name<'e>, Found<'e>) -> bool,
) -> Result<(), Problem> {
    match found {
        Found::Typed(Typed::Struct(nested) | Typed::Map(nested)) => {
            let _all = nested.items().all(|(key, value)| match key {
                Key::Field(name) => each(Name::Text(name.into()), Found::Typed(value)),
                Key::Value(key) => each(Name::Value(key), Found::Typed(value)),
                Key::None => true,
            });
        }
        Found::Avro(datum) if datum.value() == Item::Named => until(datum, |name, inner| {
            each(Name::Text(name.unwrap_or_default().into()), Found::Avro(inner))
        }),
        other => {
            let text = json(other)?.trim_ascii();
            type Object<'e> = BTreeMap<String, &'e RawValue>;
            let object = text.starts_with('{').then(|| serde_json::from_str::<Object<'_>>(text));
            let Some(Ok(object)) = object else { return Err(name(text)) };
            let mut object = object.into_iter();
            let _all = object.all(|(name, raw)| each(Name::Text(name.into()), Found::Json(raw)));
        }
    }
    Ok(())
}

fn until<'e>(datum: Datum<'e>, mut each: impl FnMut(Option<&'e str>, Datum<'e>) -> bool) {
    let mut is_wanted = true;
    datum.each(|name, inner| is_wanted = is_wanted && each(name, inner));
}
