//! Connections of a sink that sends each batch on its own connection: one slot per batch in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Slots that no batch uses, by number.
pub struct Places<C>(Mutex<Vec<Place<C>>>);

/// A slot for a connection.
pub struct Place<C> {
    /// Its number, from 0, which can be part of the connection's name.
    pub number: usize,
    /// The connection, if it is open.
    pub open: Option<C>,
}

/// A slot that a batch uses. Dropping it returns the slot with its connection, even if the batch is
/// dropped midway: so first take out a connection in an unknown state.
pub struct Taken<'a, C> {
    of: &'a Places<C>,
    place: Option<Place<C>>,
}

impl<C> Places<C> {
    /// Creates `count` slots without connections.
    pub fn new(count: usize) -> Self {
        Self(Mutex::new((0..count).map(|number| Place { number, open: None }).collect()))
    }

    fn free(&self) -> MutexGuard<'_, Vec<Place<C>>> {
        // The list is consistent between calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a free slot.
    ///
    /// # Panics
    /// Panics if all slots are taken: a sink has at most as many batches in flight as slots.
    pub fn take(&self) -> Taken<'_, C> {
        let place = self.free().pop().expect("a place for each batch in flight");
        Taken { of: self, place: Some(place) }
    }
}

impl<C> Taken<'_, C> {
    /// Returns the slot.
    pub fn place(&mut self) -> &mut Place<C> {
        self.place.as_mut().expect("it is given back when this is dropped")
    }
}

impl<C> Drop for Taken<'_, C> {
    fn drop(&mut self) {
        self.of.free().extend(self.place.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_with_what_it_has_then() {
        let places = Places::new(2);
        let mut first = places.take();
        let mut second = places.take();
        assert_eq!(first.place().number + second.place().number, 1);
        first.place().open = Some("connection");
        let number = first.place().number;
        drop(first);
        let mut again = places.take();
        assert_eq!((again.place().number, again.place().open.take()), (number, Some("connection")));
        drop(again);
        assert_eq!(places.take().place().open, None);
    }
}
