//! From what CEL parsed to what runs: every name is known, every type fits, and the cost is bounded.

use cel::common::{
    ast::{
        CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
    },
    types::CelInt,
};
use regex::RegexBuilder;

use super::{
    leaf::{Leaf, PLACE_FIELDS, attribute_key, place_field},
    typing::{Names, Type, Typed, compare, contain, pair, severity},
};
use crate::{Limits, problem::Fault};

/// What stands alone, besides severities.
const VARIABLES: [(&str, Leaf, Type); 7] = [
    ("kind", Leaf::Kind, Type::Name(Names::Kind)),
    ("source", Leaf::Source, Type::Name(Names::Source)),
    ("class", Leaf::Class, Type::Name(Names::Class)),
    ("severity", Leaf::Severity, Type::Severity),
    ("impact", Leaf::Impact, Type::Number),
    ("time", Leaf::Time, Type::Number),
    ("message", Leaf::Message, Type::Text),
];

/// What is asked of a text.
const ABOUT_TEXT: [&str; 3] = ["contains", "startsWith", "endsWith"];

/// Every function, for those who write another.
const FUNCTIONS: [&str; 14] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "size",
    "int",
    "double",
    "string",
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
];

/// Lowers a condition: returns it with the questions it asks, and its cost.
pub(super) fn lower(expression: IdedExpr) -> Result<(IdedExpr, Vec<Leaf>, usize), Fault> {
    let mut lowering =
        Lowering { leaves: Vec::new(), bound: Vec::new(), factor: 1, cost: 0, depth: 0 };
    let whole = lowering.lower(expression)?;
    if !matches!(whole.is, Type::Truth | Type::Any) {
        whole.is.want(Type::Truth)?;
    }
    Ok((whole.expr, lowering.leaves, lowering.cost))
}

/// What is wrong with a condition that nests too deep.
pub(super) fn too_deep() -> Fault {
    Fault::new("nests too deep", "split the step in two, or use a list: x in [\"a\", \"b\"]")
}

struct Lowering {
    leaves: Vec<Leaf>,
    /// Names that a macro such as `exists` binds, innermost last.
    bound: Vec<String>,
    /// How often what is being lowered runs.
    factor: usize,
    cost: usize,
    depth: usize,
}

impl Lowering {
    fn lower(&mut self, it: IdedExpr) -> Result<Typed, Fault> {
        self.cost = self.cost.saturating_add(self.factor);
        if self.cost > Limits::CONDITION_COST_MAX {
            let max = Limits::CONDITION_COST_MAX;
            let what = format!("takes more than {max} operations for one event");
            return Err(Fault::new(what, "shorten its lists, or split the step in two"));
        }
        if self.depth >= Limits::CONDITION_DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        let typed = self.lower_one(it);
        self.depth -= 1;
        typed
    }

    fn lower_one(&mut self, it: IdedExpr) -> Result<Typed, Fault> {
        let id = it.id;
        match it.expr {
            Expr::Literal(literal) => literal_of(id, literal),
            Expr::Ident(name) => self.name(id, name),
            Expr::Select(select) => self.select(id, &select),
            Expr::Call(call) => self.call(id, call),
            Expr::List(list) => Ok(self.list(id, list)?.0),
            Expr::Comprehension(comprehension) => self.comprehension(id, *comprehension),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(Fault::new("makes a map", "a condition only asks: compare, or use a list"))
            }
        }
    }

    fn name(&mut self, id: u64, name: String) -> Result<Typed, Fault> {
        if self.bound.contains(&name) {
            return Ok(Typed { expr: IdedExpr { id, expr: Expr::Ident(name) }, is: Type::Any });
        }
        if let Some(severity) = severity(&name) {
            let expr = Expr::Literal(LiteralValue::Int(CelInt::from(severity as i64)));
            return Ok(Typed { expr: IdedExpr { id, expr }, is: Type::Severity });
        }
        if let Some((_, leaf, is)) = VARIABLES.into_iter().find(|(known, ..)| *known == name) {
            return Ok(self.ask(id, leaf, is));
        }
        match name.as_str() {
            "attributes" => Err(Fault::new(
                "asks for all attributes",
                "name the one you mean, such as: attributes.reason",
            )),
            "place" => Err(Fault::new("asks for a whole place", "name a part: place.namespace")),
            other => {
                let known = VARIABLES.iter().map(|(known, ..)| *known);
                Err(Fault::unknown("variable", other, known.chain(["attributes", "place"])))
            }
        }
    }

    /// Makes a question to the event: a name that stands for a leaf.
    fn ask(&mut self, id: u64, leaf: Leaf, is: Type) -> Typed {
        let expr = Expr::Ident(format!("@{}", self.leaves.len()));
        self.leaves.push(leaf);
        Typed { expr: IdedExpr { id, expr }, is }
    }

    /// Lowers `attributes.a.b`, `place.pod`, and `has()` of either.
    fn select(&mut self, id: u64, select: &SelectExpr) -> Result<Typed, Fault> {
        let Some((root, path)) = path(select).filter(|(root, _)| !self.bound.contains(root)) else {
            return Err(Fault::new(
                format!("takes `.{}` of what has no fields", select.field),
                "fields are those of attributes and of place",
            ));
        };
        match (root.as_str(), select.test) {
            ("attributes", false) => {
                Ok(self.ask(id, Leaf::Attribute(attribute_key(&path)?), Type::Any))
            }
            ("attributes", true) => {
                Ok(self.ask(id, Leaf::HasAttribute(attribute_key(&path)?), Type::Truth))
            }
            ("place", test) => {
                let known = PLACE_FIELDS.iter().map(|(known, _)| *known);
                let unknown = || Fault::unknown("part of a place", &path, known);
                let field = place_field(&path).ok_or_else(unknown)?;
                Ok(match test {
                    true => self.ask(id, Leaf::HasPlace(field), Type::Truth),
                    false => self.ask(id, Leaf::Place(field), Type::Text),
                })
            }
            (other, _) => Err(Fault::new(
                format!("takes `.{path}` of `{other}`"),
                "fields are those of attributes and of place",
            )),
        }
    }

    fn list(&mut self, id: u64, list: ListExpr) -> Result<(Typed, Vec<Type>), Fault> {
        let mut elements = Vec::with_capacity(list.elements.len());
        let mut types = Vec::with_capacity(list.elements.len());
        for element in list.elements {
            let Typed { expr, is } = self.lower(element)?;
            elements.push(expr);
            types.push(is);
        }
        let expr = IdedExpr { id, expr: Expr::List(ListExpr::new(elements)) };
        Ok((Typed { expr, is: Type::List }, types))
    }

    /// Lowers what `exists`, `all`, `map` or `filter` became. It runs over a list that stands there,
    /// so that how often is known.
    fn comprehension(&mut self, id: u64, it: ComprehensionExpr) -> Result<Typed, Fault> {
        let Expr::List(list) = &it.iter_range.expr else {
            return Err(Fault::new(
                "runs over something that is not a list of its own",
                "write the list: [\"a\", \"b\"].exists(word, message.contains(word))",
            ));
        };
        let is_ours = |name: &str| {
            VARIABLES.iter().any(|(known, ..)| *known == name)
                || ["attributes", "place"].contains(&name)
                || severity(name).is_some()
        };
        if is_ours(&it.iter_var) {
            let what = format!("calls an item of its list `{}`, which is a variable", it.iter_var);
            return Err(Fault::new(what, "choose another name"));
        }
        let times = list.elements.len().max(1);
        let iter_range = self.lower(it.iter_range)?.expr;
        let accu_init = self.lower(it.accu_init)?.expr;
        let (bound, factor) = (self.bound.len(), self.factor);
        self.factor = factor.saturating_mul(times);
        self.bound.extend([it.iter_var.clone(), it.accu_var.clone()]);
        let loop_cond = self.lower(it.loop_cond)?.expr;
        let loop_step = self.lower(it.loop_step)?.expr;
        self.factor = factor;
        let result = self.lower(it.result)?.expr;
        self.bound.truncate(bound);
        let parts = ComprehensionExpr {
            iter_range,
            iter_var: it.iter_var,
            accu_var: it.accu_var,
            accu_init,
            loop_cond,
            loop_step,
            result,
            ..ComprehensionExpr::default()
        };
        let expr = Expr::Comprehension(Box::new(parts));
        Ok(Typed { expr: IdedExpr { id, expr }, is: Type::Any })
    }

    fn call(&mut self, id: u64, call: CallExpr) -> Result<Typed, Fault> {
        let CallExpr { func_name, target, mut args } = call;
        match (func_name.as_str(), target, args.len()) {
            ("matches", Some(target), 1) => self.matches(id, *target, args.first()),
            (operators::INDEX, None, 2) => self.index(id, args.first(), args.get(1)),
            (operators::IN, None, 2) if is_attributes(args.get(1)) => {
                let key = args.into_iter().next();
                let key = attribute_key(&text_of(key.as_ref())?)?;
                Ok(self.ask(id, Leaf::HasAttribute(key), Type::Truth))
            }
            (operators::IN, None, 2) => {
                let (right, left) = (args.pop(), args.pop());
                self.is_in(id, left, right)
            }
            (_, target, _) => {
                let target = target.map(|target| self.lower(*target)).transpose()?;
                let args: Vec<Typed> =
                    args.into_iter().map(|arg| self.lower(arg)).collect::<Result<_, _>>()?;
                let is = result_of(&func_name, target.as_ref(), &args)?;
                let target = target.map(|target| Box::new(target.expr));
                let args = args.into_iter().map(|arg| arg.expr).collect();
                let expr = Expr::Call(CallExpr { func_name, target, args });
                Ok(Typed { expr: IdedExpr { id, expr }, is })
            }
        }
    }

    /// Lowers `x.matches("...")`: the expression is compiled here, once.
    fn matches(
        &mut self,
        id: u64,
        target: IdedExpr,
        pattern: Option<&IdedExpr>,
    ) -> Result<Typed, Fault> {
        let pattern = text_of(pattern)?;
        let regex = RegexBuilder::new(&pattern)
            .size_limit(Limits::REGEX_BYTES_MAX)
            .dfa_size_limit(Limits::REGEX_BYTES_MAX)
            .build()
            .map_err(|why| {
                let why = why.to_string();
                let why = why.lines().last().unwrap_or_default().trim().to_owned();
                Fault::new(format!("`{pattern}` is not a regular expression: {why}"), "correct it")
            })?;
        let target = self.lower(target)?;
        target.is.want(Type::Text)?;
        let variable =
            Fault::new("`matches` is asked of something computed", "ask it of a variable: message");
        let Expr::Ident(name) = &target.expr.expr else { return Err(variable) };
        let number = name.strip_prefix('@').and_then(|number| number.parse::<usize>().ok());
        let leaf = number.and_then(|number| self.leaves.get(number)).cloned().ok_or(variable)?;
        Ok(self.ask(id, Leaf::Matches(Box::new(leaf), regex), Type::Truth))
    }

    /// Lowers `attributes["a.b"]`.
    fn index(
        &mut self,
        id: u64,
        of: Option<&IdedExpr>,
        key: Option<&IdedExpr>,
    ) -> Result<Typed, Fault> {
        if !is_attributes(of) {
            return Err(Fault::new(
                "indexes something",
                "only attributes are indexed, by their key",
            ));
        }
        let key = attribute_key(&text_of(key)?)?;
        Ok(self.ask(id, Leaf::Attribute(key), Type::Any))
    }

    fn is_in(
        &mut self,
        id: u64,
        left: Option<IdedExpr>,
        right: Option<IdedExpr>,
    ) -> Result<Typed, Fault> {
        let left = self.lower(left.unwrap_or_default())?;
        let right = right.unwrap_or_default();
        let (right, items) = if let Expr::List(list) = right.expr {
            self.list(right.id, list)?
        } else {
            (self.lower(right)?, Vec::new())
        };
        contain(&left, &right, &items)?;
        let args = vec![left.expr, right.expr];
        let call = CallExpr { func_name: operators::IN.to_owned(), target: None, args };
        Ok(Typed { expr: IdedExpr { id, expr: Expr::Call(call) }, is: Type::Truth })
    }
}

/// Checks a call and returns what it gives.
fn result_of(name: &str, target: Option<&Typed>, args: &[Typed]) -> Result<Type, Fault> {
    let all = |wanted| args.iter().try_for_each(|arg| arg.is.want(wanted));
    match (name, target, args) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, None, _) => {
            all(Type::Truth).map(|()| Type::Truth)
        }
        (operators::EQUALS | operators::NOT_EQUALS, None, [left, right]) => {
            compare(left, right).map(|()| Type::Truth)
        }
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            None,
            [left, right],
        ) => compare(left, right).map(|()| Type::Truth),
        (operators::CONDITIONAL, None, [truth, one, _]) => {
            truth.is.want(Type::Truth).map(|()| one.is)
        }
        (operators::ADD, None, [one, other]) => {
            // Two names joined are a text and no name.
            let sum = if matches!(one.is, Type::Name(_)) { Type::Text } else { one.is };
            pair(one, other).map(|()| sum)
        }
        (
            operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE,
            None,
            _,
        ) => all(Type::Number).map(|()| Type::Number),
        (operators::NOT_STRICTLY_FALSE, None, _) => Ok(Type::Truth),
        (about, Some(target), [argument]) if ABOUT_TEXT.contains(&about) => {
            target.is.want(Type::Text)?;
            argument.is.want(Type::Text).map(|()| Type::Truth)
        }
        ("size", Some(_), []) | ("size" | "int" | "double", None, [_]) => Ok(Type::Number),
        ("string", None, [_]) => Ok(Type::Text),
        (known, ..) if FUNCTIONS.contains(&known) => {
            let cure = "write it as in: message.contains(\"evicted\"), size(message), int(\"7\")";
            Err(Fault::new(format!("`{known}` is not called like that"), cure))
        }
        (other, ..) => Err(Fault::unknown("function", other, FUNCTIONS)),
    }
}

fn literal_of(id: u64, literal: LiteralValue) -> Result<Typed, Fault> {
    let is = match &literal {
        LiteralValue::Boolean(_) => Type::Truth,
        LiteralValue::Int(_) | LiteralValue::Double(_) | LiteralValue::UInt(_) => Type::Number,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::Null => {
            let cure = "ask whether it is there: has(attributes.reason)";
            return Err(Fault::new("asks for null", cure));
        }
        LiteralValue::Bytes(_) => return Err(Fault::new("has bytes", "write text: \"...\"")),
    };
    Ok(Typed { expr: IdedExpr { id, expr: Expr::Literal(literal) }, is })
}

/// Returns the first name of `a.b.c`, and the rest.
fn path(select: &SelectExpr) -> Option<(String, String)> {
    let mut rest = select.field.clone();
    let mut operand = &select.operand.expr;
    loop {
        match operand {
            Expr::Ident(root) => return Some((root.clone(), rest)),
            Expr::Select(above) => {
                rest = format!("{}.{rest}", above.field);
                operand = &above.operand.expr;
            }
            Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Unspecified => return None,
        }
    }
}

fn is_attributes(expr: Option<&IdedExpr>) -> bool {
    matches!(expr.map(|it| &it.expr), Some(Expr::Ident(name)) if name == "attributes")
}

/// Returns a text that stands there as it is.
fn text_of(expr: Option<&IdedExpr>) -> Result<String, Fault> {
    match expr.map(|it| &it.expr) {
        Some(Expr::Literal(LiteralValue::String(text))) => Ok(text.inner().to_owned()),
        Some(_) | None => {
            Err(Fault::new("computes a key or a regular expression", "write it in quotes"))
        }
    }
}
