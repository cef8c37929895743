//! What a configuration knows of itself.

/// Something wrong with a value, as the value's owner says it; [`crate::load`] adds where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, from the top, with dots between.
    pub field: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: String,
}

impl Fault {
    /// Makes a fault.
    #[must_use]
    pub fn new(field: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { field, what: what.into(), cure: cure.into() }
    }
}

/// A variable of the environment that takes precedence over a field.
#[derive(Debug)]
pub struct Variable<T> {
    /// Its name.
    pub name: &'static str,
    /// The field, from the top, with dots between.
    pub field: &'static str,
    /// Sets the field, or says what is wrong with the text and what to write instead.
    pub set: fn(&mut T, &str) -> Result<(), Fault>,
}

/// A configuration that can say what is wrong with it.
pub trait Validate: Sized + 'static {
    /// The variables that take precedence, in the order they are applied.
    const VARIABLES: &'static [Variable<Self>] = &[];

    /// Returns everything that is wrong with the values.
    fn validate(&self) -> Vec<Fault>;

    /// Returns the fields that differ in `next` and take effect only at the next start.
    fn needs_restart(&self, next: &Self) -> Vec<&'static str> {
        let _ = next;
        Vec::new()
    }
}
