//! `#[task]`: a handle under the function's name, and a registry entry beside it.

mod check;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta, Pat, PatType, Result, ReturnType};

use crate::options::TaskOptions;
use crate::type_text::type_text;

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let TaskOptions { idempotent, procession } = TaskOptions::parse(options)?;
    let mut function = check::parse(item)?;
    let params = check::check(&function.sig)?;

    let private = quote!(#procession::__private);
    let name = function.sig.ident.clone();
    let handle = handle_name(&name);
    let visibility = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let (outer, inner) = split_attributes(std::mem::take(&mut function.attrs));
    function.attrs = inner;

    let bare_name = name.unraw().to_string();
    let docs = docs(&outer);
    let types: Vec<_> = params.iter().map(|param| &*param.ty).collect();
    let returns = return_type(&function.sig.output);
    let names = params.iter().map(|param| match &*param.pat {
        Pat::Ident(pattern) => pattern.ident.to_token_stream(),
        _ => quote!(_),
    });
    // The names mean nothing to the compiler, but rustdoc shows them.
    let pointer = quote!(fn(#(#names: #types),*) -> #returns);
    let params = params.iter().enumerate().map(|(index, param)| param_info(index, param, &private));
    let returns_text = type_text(returns.clone());
    // Spanned with the types, so that one that cannot travel is reported there.
    let arguments = types.iter().clone().map(
        |ty| quote_spanned!(ty.span()=> { #private::argument::<#ty>(); <#private::Passage<#ty>>::CARRIER }),
    );
    let result = quote_spanned!(returns.span()=> { #private::result::<#returns>(); <#private::Passage<#returns>>::CARRIER });

    Ok(quote! {
        #(#outer)*
        #visibility const #handle: #private::Task<#pointer> = {
            #function
            // In a block of its own, out of the function's sight.
            {
                use #private::NoPassage as _;
                #[#private::linkme::distributed_slice(#private::TASKS)]
                #[linkme(crate = #private::linkme)]
                static TASK: #private::TaskInfo = #private::TaskInfo::new(#private::Definition {
                    path: ::core::concat!(::core::module_path!(), "::", #bare_name),
                    params: &[#(#params),*],
                    returns: #returns_text,
                    docs: #docs,
                    idempotent: #idempotent,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    function: &#private::Callable::new(
                        #name,
                        ::core::marker::PhantomData::<#pointer>,
                        (#(#arguments,)*),
                        #result,
                    ),
                });
                #private::task(#name, &TASK)
            }
        };
    })
}

/// The name with the hygiene of this expansion: found by everyone at the place of use, but not scolded by the
/// caller's naming lints, which would want a constant in capitals.
fn handle_name(name: &Ident) -> Ident {
    let mut handle = name.clone();
    handle.set_span(Span::call_site().located_at(name.span()));
    handle
}

/// What speaks of the item goes to the handle, what speaks of the body stays with the function.
fn split_attributes(attributes: Vec<Attribute>) -> (Vec<Attribute>, Vec<Attribute>) {
    attributes.into_iter().partition(|attribute| {
        ["doc", "cfg", "deprecated"].iter().any(|name| attribute.path().is_ident(name))
    })
}

/// The doc comment without the space that follows `///`. Included files are left to rustdoc.
fn docs(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
                Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line.value()),
                _ => None,
            },
            _ => None,
        })
        .map(|line| line.strip_prefix(' ').map(str::to_owned).unwrap_or(line))
        .collect();
    lines.join("\n").trim_end().to_owned()
}

fn return_type(output: &ReturnType) -> TokenStream {
    match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

fn param_info(index: usize, param: &PatType, private: &TokenStream) -> TokenStream {
    let name = param_name(index, &param.pat);
    let text = type_text(param.ty.to_token_stream());
    quote!(#private::ParamInfo::new(#name, #text))
}

fn param_name(index: usize, pattern: &Pat) -> String {
    match pattern {
        Pat::Ident(pattern) => pattern.ident.unraw().to_string(),
        _ => format!("arg{index}"),
    }
}
