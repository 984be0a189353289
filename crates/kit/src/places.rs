//! Connections of a sink that sends a batch on each: a place for every batch in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Places for connections that no batch uses, by number.
pub struct Places<C>(Mutex<Vec<Place<C>>>);

/// A place for a connection.
pub struct Place<C> {
    /// Its number, from 0: each connection can have a name of its own.
    pub number: usize,
    /// The connection, while there is one.
    pub open: Option<C>,
}

/// A place that a batch uses. It is given back when this is dropped, also when the batch is dropped
/// midway: with the connection that it then has, so one whose state is not known is taken out of it
/// first.
pub struct Taken<'a, C> {
    of: &'a Places<C>,
    place: Option<Place<C>>,
}

impl<C> Places<C> {
    /// So many, without connections.
    pub fn new(count: usize) -> Self {
        Self(Mutex::new((0..count).map(|number| Place { number, open: None }).collect()))
    }

    fn free(&self) -> MutexGuard<'_, Vec<Place<C>>> {
        // The list is whole between two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free place.
    ///
    /// # Panics
    /// When more are asked for than there are: a sink has no more batches in flight than places.
    pub fn take(&self) -> Taken<'_, C> {
        let place = self.free().pop().expect("a place for each batch in flight");
        Taken { of: self, place: Some(place) }
    }
}

impl<C> Taken<'_, C> {
    /// The place.
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
