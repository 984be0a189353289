//! What tests of sources share: intakes whose answers a test decides, and a source that runs.

pub mod channels;
pub mod narrow;
pub mod running;
