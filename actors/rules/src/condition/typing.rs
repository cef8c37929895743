//! What the parts of a condition are, as far as that is known before it runs.

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use tapio_model::{Class, Kind, Severity, Source};

use crate::problem::Fault;

/// The type of a part of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Truth,
    Number,
    Text,
    /// A name out of a closed list.
    Name(Names),
    /// A severity: it has an order, and names without quotes.
    Severity,
    List,
    /// Whatever the event says: an attribute.
    Any,
}

/// A closed list of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Kind,
    Source,
    Class,
}

impl Names {
    fn all(self) -> Vec<&'static str> {
        match self {
            Self::Kind => Kind::ALL.iter().map(|kind| kind.name()).collect(),
            Self::Source => Source::ALL.iter().map(|source| source.name()).collect(),
            Self::Class => Class::ALL.iter().map(|class| class.name()).collect(),
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Source => "source",
            Self::Class => "class",
        }
    }
}

/// Returns the severity that a name in capitals stands for.
pub(super) fn severity(name: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|known| known.name().to_ascii_uppercase() == name)
}

impl Type {
    const fn noun(self) -> &'static str {
        match self {
            Self::Truth => "true or false",
            Self::Number => "a number",
            Self::Text | Self::Name(_) => "text",
            Self::Severity => "a severity",
            Self::List => "a list",
            Self::Any => "an attribute",
        }
    }

    /// Checks that a part is of a type, or may turn out to be.
    pub(super) fn want(self, wanted: Self) -> Result<(), Fault> {
        if self.may_equal(wanted) {
            return Ok(());
        }
        let (is, wanted) = (self.noun(), wanted.noun());
        Err(Fault::new(
            format!("{is} stands where {wanted} is needed"),
            "compare it, or convert it",
        ))
    }

    fn may_equal(self, other: Self) -> bool {
        let plain = |it| if matches!(it, Self::Name(_)) { Self::Text } else { it };
        self == Self::Any || other == Self::Any || plain(self) == plain(other)
    }
}

/// A part of a condition with its type.
pub(super) struct Typed {
    pub(super) expr: IdedExpr,
    pub(super) is: Type,
}

/// Checks two sides of a comparison against each other.
pub(super) fn compare(left: &Typed, right: &Typed) -> Result<(), Fault> {
    pair(left, right)?;
    check_name(left, &right.expr)?;
    check_name(right, &left.expr)
}

/// Checks that two parts are of one type.
pub(super) fn pair(left: &Typed, right: &Typed) -> Result<(), Fault> {
    let unequal = || unequal(left.is, right.is);
    if left.is.may_equal(right.is) { Ok(()) } else { Err(unequal()) }
}

/// Checks `left in right`.
pub(super) fn contain(left: &Typed, right: &Typed, items: &[Type]) -> Result<(), Fault> {
    right.is.want(Type::List)?;
    if let Some(item) = items.iter().find(|item| !left.is.may_equal(**item)) {
        return Err(unequal(left.is, *item));
    }
    let Expr::List(list) = &right.expr.expr else { return Ok(()) };
    list.elements.iter().try_for_each(|item| check_name(left, item))
}

fn unequal(left: Type, right: Type) -> Fault {
    let cure = if left == Type::Severity || right == Type::Severity {
        "write a severity without quotes, such as: severity >= WARN"
    } else {
        "compare like with like; int(), double() and string() convert"
    };
    Fault::new(format!("{} is compared with {}", left.noun(), right.noun()), cure)
}

/// Checks that a text which is compared with a name is one that exists.
fn check_name(named: &Typed, other: &IdedExpr) -> Result<(), Fault> {
    let (Type::Name(names), Expr::Literal(LiteralValue::String(text))) = (named.is, &other.expr)
    else {
        return Ok(());
    };
    let all = names.all();
    if all.contains(&text.inner()) {
        return Ok(());
    }
    Err(Fault::unknown(names.noun(), text.inner(), all))
}
