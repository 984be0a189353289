//! Has no tests. `fuzz/run` builds it next to the program, because a build with a test among its
//! targets also turns on the features that tests need: so it finds the crates of others as the
//! build of all tests has left them, and builds none of them again.
