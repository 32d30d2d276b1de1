//! What cannot be a task, said on the token that makes it so.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Error, FnArg, ItemFn, Lifetime, PatType, Result, ReturnType, Signature, Type};

/// As many as a function pointer gets an implementation for.
const ARGUMENTS_MAX: usize = 8;

pub(crate) fn parse(item: TokenStream) -> Result<ItemFn> {
    syn::parse2(item.clone()).map_err(|error| {
        match item.into_iter().find(is_item_keyword) {
            // A function with a mistake in it: the parser says where.
            Some(keyword) if keyword.to_string() == "fn" => error,
            Some(keyword) => Error::new_spanned(keyword, NOT_A_FUNCTION),
            None => Error::new(error.span(), NOT_A_FUNCTION),
        }
    })
}

const NOT_A_FUNCTION: &str = "`#[task]` goes on a function";

fn is_item_keyword(token: &TokenTree) -> bool {
    const KEYWORDS: [&str; 12] = [
        "const",
        "enum",
        "extern",
        "fn",
        "impl",
        "macro_rules",
        "mod",
        "static",
        "struct",
        "trait",
        "type",
        "use",
    ];
    matches!(token, TokenTree::Ident(ident) if KEYWORDS.iter().any(|keyword| ident == keyword))
}

/// Checks the signature and hands back its arguments.
pub(crate) fn check(signature: &Signature) -> Result<Vec<&PatType>> {
    if let Some(token) = &signature.asyncness {
        return refuse(
            token,
            "a task cannot be `async`: a worker runs one call at a time, so block inside the function",
        );
    }
    if let Some(token) = &signature.unsafety {
        return refuse(
            token,
            "a task cannot be `unsafe`: check what it needs and wrap the unsafe part inside",
        );
    }
    if let Some(token) = &signature.abi {
        return refuse(token, "a task cannot be `extern`: call the foreign function inside a plain one");
    }
    if !signature.generics.params.is_empty() {
        return refuse(
            &signature.generics,
            "a task cannot be generic: it is registered once, for one signature; write one task for each type",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        return refuse(
            clause,
            "a task cannot have a `where` clause: it is registered once, for one signature",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a task cannot be variadic");
    }
    let params = signature.inputs.iter().map(owned_param).collect::<Result<Vec<_>>>()?;
    if let Some(param) = params.get(ARGUMENTS_MAX) {
        return refuse(param, "a task has at most 8 arguments: put some of them into a struct or a tuple");
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        if let Type::Never(never) = &**ty {
            return refuse(never, "a task needs a result that can be sent back: leave out `-> !`");
        }
        Borrowed::check(ty, "result")?;
    }
    Ok(params)
}

fn owned_param(param: &FnArg) -> Result<&PatType> {
    match param {
        FnArg::Receiver(receiver) => refuse(
            receiver,
            "a task cannot have `self`: write a free function that takes the value as an argument",
        ),
        FnArg::Typed(param) => {
            Borrowed::check(&param.ty, "argument")?;
            Ok(param)
        }
    }
}

fn refuse<T>(tokens: impl ToTokens, message: &str) -> Result<T> {
    Err(Error::new_spanned(tokens, message))
}

/// Finds the first thing in a type that is not owned and concrete.
struct Borrowed {
    /// "argument" or "result".
    role: &'static str,
    error: Option<Error>,
}

impl Borrowed {
    fn check(ty: &Type, role: &'static str) -> Result<()> {
        let mut visitor = Borrowed { role, error: None };
        visitor.visit_type(ty);
        visitor.error.map_or(Ok(()), Err)
    }

    fn found(&mut self, tokens: impl ToTokens, message: &str) {
        self.error.get_or_insert(Error::new_spanned(tokens, message));
    }
}

impl Visit<'_> for Borrowed {
    fn visit_type(&mut self, ty: &Type) {
        match ty {
            Type::Reference(reference) => {
                let owned = owned_form(&reference.elem);
                let message = format!(
                    "the {} of a task must be owned, it travels between processes: {owned}",
                    self.role
                );
                self.found(reference, &message);
            }
            Type::ImplTrait(ty) => {
                let message = format!("the {} of a task needs a concrete type, not `impl Trait`", self.role);
                self.found(ty, &message);
            }
            Type::Infer(ty) => self.found(ty, "the types of a task must be written out"),
            _ => visit::visit_type(self, ty),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &Lifetime) {
        if lifetime.ident != "static" {
            let message = format!("the {} of a task must be owned, it travels between processes", self.role);
            self.found(lifetime, &message);
        }
    }
}

fn owned_form(borrowed: &Type) -> String {
    match borrowed {
        Type::Path(path) if path.path.is_ident("str") => "use `String`".to_owned(),
        Type::Path(path) if path.path.is_ident("Path") => "use `PathBuf`".to_owned(),
        Type::Slice(slice) => {
            format!("use `Vec<{}>`", crate::type_text::type_text(slice.elem.to_token_stream()))
        }
        other => format!("use `{}`", crate::type_text::type_text(other.to_token_stream())),
    }
}
