//! Configuration: loaded, validated, watched. Knows no field of any component.
//!
//! A configuration is a YAML file and the variables of the environment that take precedence over
//! it. [`load`] makes a value of them, or says where it is wrong: file, line, field and cure.
//! [`watch`] keeps looking at the file. What is good is swapped in behind [`Live`]; what is not
//! keeps the old value, is logged, counted and kept to be shown.
//!
//! | the file | what happens |
//! |---|---|
//! | changes in place, is replaced, or a ConfigMap's `..data` link moves | read again |
//! | is half written | nothing: a content counts once two looks in a row agree on it |
//! | is gone, is not YAML, has an unknown field or a bad value | the old value stays |
//! | changes something that needs a restart | the old value stays, whole, and the fields are named |

mod live;
mod load;
mod nearest;
mod outline;
mod problem;
mod validate;

pub use live::{Live, LiveSender, Reloads, Watching, watch};
pub use load::{FILE_BYTES_MAX, Lookup, Origin, load, process_variable};
pub use nearest::{choose, nearest};
pub use outline::{Outline, read_yaml, says_nothing};
pub use problem::{ConfigError, Problem, Whence};
pub use validate::{Fault, Validate, Variable};
