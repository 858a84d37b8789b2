//! `${NAME}` in adapter files: values that are not for a file, such as passwords.

/// Puts in each `${NAME}`.
///
/// # Errors
/// A `${` without its end, or the names that are not set.
pub(crate) fn put_in(text: &str) -> Result<String, String> {
    let (mut out, mut unset, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err("a `${` is not closed".to_owned());
        };
        match std::env::var(name) {
            Ok(value) => out.push_str(&value),
            Err(_) => unset.push(name),
        }
        rest = after;
    }
    out.push_str(rest);
    match unset.as_slice() {
        [] => Ok(out),
        [name] => Err(format!("the environment variable {name} is not set")),
        names => Err(format!("the environment variables {} are not set", names.join(", "))),
    }
}
