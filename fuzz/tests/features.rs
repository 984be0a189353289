//! Contains no tests. `fuzz/run` builds it next to the program, because a build with a test target
//! also enables the features for tests. It can then reuse the third-party crates from the build of
//! all tests.
