//! Values that components share by their type, so that the roles need not know each of them.
//!
//! ```
//! # use aqueduct_pipeline as pipeline;
//! use pipeline::extensions::Extensions;
//!
//! #[derive(Clone, Default, PartialEq, Debug)]
//! struct Region(String);
//!
//! let shared = Extensions::default().with(Region("eu".into()));
//! assert_eq!(shared.get::<Region>(), Region("eu".into()));
//! assert_eq!(shared.find::<u64>(), None);
//! ```

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Values = BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// At most one value of each type. Clones are the same set.
#[derive(Clone, Default)]
pub struct Extensions {
    values: Arc<Mutex<Values>>,
}

impl Extensions {
    /// Returns a copy of this set in which `value` replaces the value of its type.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(&self, value: T) -> Self {
        let mut values = self.values().clone();
        values.insert(TypeId::of::<T>(), Arc::new(value));
        Self { values: Arc::new(Mutex::new(values)) }
    }

    /// Returns the value of this type, if any.
    pub fn find<T: Any + Send + Sync + Clone>(&self) -> Option<T> {
        self.values().get(&TypeId::of::<T>())?.downcast_ref::<T>().cloned()
    }

    /// Returns the value of this type. If it is missing, inserts the default, which all clones then
    /// share.
    pub fn get<T: Any + Send + Sync + Clone + Default>(&self) -> T {
        let mut values = self.values();
        let value = values.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        value.downcast_ref::<T>().cloned().unwrap_or_default()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // Each change is one insertion: the map is whole, also after a panic elsewhere.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extensions").field("values", &self.values().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_shared_by_all_clones_and_a_replaced_value_by_none() {
        #[derive(Clone, Default)]
        struct Board(Arc<Mutex<u32>>);
        let one = Extensions::default();
        let clone = one.clone();
        *one.get::<Board>().0.lock().unwrap() += 1;
        assert_eq!(*clone.get::<Board>().0.lock().unwrap(), 1);

        let other = one.with(Board::default()).with("text");
        assert_eq!(*other.get::<Board>().0.lock().unwrap(), 0);
        assert_eq!((other.find::<&str>(), one.find::<&str>()), (Some("text"), None));
        assert_eq!(*one.find::<Board>().unwrap().0.lock().unwrap(), 1);
    }
}
