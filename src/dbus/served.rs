//! The manager as it is served: what the `interface` macro makes of it, and two things that the macro has no words for:
//! annotations in the description, and the contract's own error for arguments of another signature.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::OnceLock;

use async_trait::async_trait;
use zbus::message::Header;
use zbus::names::{InterfaceName, MemberName};
use zbus::object_server::{DispatchResult, Interface, SignalEmitter};
use zbus::{BoxDBusError, Connection, Message, ObjectServer, OwnedVariant, Variant, fdo};

use super::aur::Aur;
use super::error::Error;
use super::manager::Manager;
use super::plan::ServedPlan;
use super::runtimes::Runtimes;

/// C++ types for `qdbusxml2cpp`, which asks for one wherever Qt has none of its own for the D-Bus type. Those that begin
/// with `Omg` are for clients to define, with the fields that the member's documentation names.
const QT_TYPES: [(&str, &str); 22] = [
    ("a(sbb)", "OmgNeededPackages"),
    ("a(ssa(ssbb)as)", "OmgBuildSteps"),
    ("a(ssh)", "OmgBuiltPackages"),
    ("a(ss)", "OmgActions"),
    ("a(tttusa(ss)sa(ssssssb)s)", "OmgTransactions"),
    ("a(sssssstx)", "OmgPlanItems"),
    ("a(sssss)", "OmgHeldBackUpgrades"),
    ("a(ssasss)", "OmgDecisions"),
    ("a{ss}", "OmgTexts"),
    ("a{sv}", "QVariantMap"),
    ("aa{sv}", "QList&lt;QVariantMap&gt;"),
    ("a(sssssut)", "OmgPackageRows"),
    ("a(ssssssut)", "OmgPackageUpgrades"),
    ("a(sv)", "OmgBatchRequests"),
    ("a(bv)", "OmgBatchAnswers"),
    ("a(suu)", "OmgGroups"),
    ("(us)", "OmgLockHolder"),
    ("a(sssu)", "OmgRuntimes"),
    ("a(ssbssb)", "OmgInstalledVersions"),
    ("a(sssbb)", "OmgAvailableVersions"),
    ("a(ssssssu)", "OmgResolvedVersions"),
    ("a(ssst)", "OmgReleaseKeys"),
];

const QT_ANNOTATION: &str = "org.qtproject.QtDBus.QtTypeName";
const EMITS_CHANGED: &str = "org.freedesktop.DBus.Property.EmitsChangedSignal";

/// Methods and the arguments that they take.
pub type Methods = OnceLock<HashMap<String, Vec<Argument>>>;

/// An interface whose methods are known, once they have been read from its description.
pub trait Described: Interface {
    /// The same for every object of the type.
    fn methods() -> &'static Methods;
}

/// The object that is put on a connection.
#[derive(Debug)]
pub struct Served<I>(I);

impl<I: Described> Served<I> {
    pub fn new(object: I) -> Self {
        Self(object)
    }

    fn description(&self) -> String {
        let mut description = String::new();
        self.0.introspect_to_writer(&mut description, 0);
        description
    }

    /// What is wrong with the arguments of a call, when their signature is not the method's.
    fn misfit(&self, message: &Message, method: &str) -> Option<Error> {
        let wanted = I::methods().get_or_init(|| arguments_in(&self.description())).get(method)?;
        let given = message.body().signature().to_string_no_parens();
        if given == wanted.iter().map(|argument| argument.signature.as_str()).collect::<String>() {
            return None;
        }
        let wanted: Vec<String> =
            wanted.iter().map(|argument| format!("{} {}", argument.name, argument.signature)).collect();
        let wanted = if wanted.is_empty() { "none".to_owned() } else { wanted.join(", ") };
        let given = if given.is_empty() { "none".to_owned() } else { given };
        Some(Error::InvalidArgument(format!("arguments: {method} takes {wanted}; given: {given}")))
    }
}

#[async_trait]
impl<I: Described> Interface for Served<I> {
    fn name() -> InterfaceName<'static> {
        I::name()
    }

    fn spawn_tasks_for_methods(&self) -> bool {
        self.0.spawn_tasks_for_methods()
    }

    async fn get(
        &self,
        property_name: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        self.0.get(property_name, server, connection, header, emitter).await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        self.0.get_all(server, connection, header, emitter).await
    }

    fn set<'call>(
        &'call self,
        property_name: &'call str,
        value: &'call Variant<'_>,
        server: &'call ObjectServer,
        connection: &'call Connection,
        header: Option<&'call Header<'_>>,
        emitter: &'call SignalEmitter<'_>,
    ) -> DispatchResult<'call> {
        self.0.set(property_name, value, server, connection, header, emitter)
    }

    async fn set_mut(
        &mut self,
        property_name: &str,
        value: &Variant<'_>,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<(), BoxDBusError>> {
        self.0.set_mut(property_name, value, server, connection, header, emitter).await
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        match self.misfit(message, &name) {
            Some(error) => DispatchResult::new_async(connection, message, async move { Err::<(), _>(error) }),
            None => self.0.call(server, connection, message, name),
        }
    }

    fn call_mut<'call>(
        &'call mut self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        self.0.call_mut(server, connection, message, name)
    }

    fn introspect_to_writer(&self, writer: &mut dyn Write, level: usize) {
        let indent = " ".repeat(level);
        for line in annotated(&self.description()).lines() {
            // The trait has no way to tell of a failure; what takes the text is memory.
            let _ = if line.is_empty() { writeln!(writer) } else { writeln!(writer, "{indent}{line}") };
        }
    }
}

impl Described for Manager {
    fn methods() -> &'static Methods {
        static METHODS: Methods = OnceLock::new();
        &METHODS
    }
}

impl Described for Aur {
    fn methods() -> &'static Methods {
        static METHODS: Methods = OnceLock::new();
        &METHODS
    }
}

impl Described for Runtimes {
    fn methods() -> &'static Methods {
        static METHODS: Methods = OnceLock::new();
        &METHODS
    }
}

impl Described for ServedPlan {
    fn methods() -> &'static Methods {
        static METHODS: Methods = OnceLock::new();
        &METHODS
    }
}

/// An argument that a method takes.
#[derive(Debug)]
pub struct Argument {
    name: String,
    signature: String,
}

/// The lines of a description that are no comments.
fn elements(description: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut comment = false;
    description.lines().map(move |line| {
        let text = line.trim();
        comment |= text.starts_with("<!--");
        let element = !comment;
        comment &= !text.ends_with("-->");
        (line, element)
    })
}

/// The arguments that each method takes, by its name, from the macro's description: an element a line.
fn arguments_in(description: &str) -> HashMap<String, Vec<Argument>> {
    let mut methods: HashMap<String, Vec<Argument>> = HashMap::new();
    let mut method = None;
    for (line, _) in elements(description).filter(|(_, element)| *element) {
        let text = line.trim_start();
        if text.starts_with("<method ") {
            method = attribute(text, "name").map(|name| methods.entry(name.to_owned()).or_default());
        } else if text.starts_with("</method") {
            method = None;
        } else if text.starts_with("<arg ")
            && attribute(text, "direction") == Some("in")
            && let (Some(arguments), Some(name), Some(signature)) =
                (method.as_mut(), attribute(text, "name"), attribute(text, "type"))
        {
            arguments.push(Argument { name: name.to_owned(), signature: signature.to_owned() });
        }
    }
    methods
}

/// The macro's description with the annotations that it cannot be told to write: C++ types for Qt, and for properties
/// that they send `PropertiesChanged` when they change, which is the default but not what every tool assumes.
fn annotated(description: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut qt: Vec<String> = Vec::new();
    let (mut taken, mut given) = (0, 0);
    for (line, element) in elements(description) {
        let text = line.trim_start();
        let indent = line.strip_suffix(text).unwrap_or_default();
        let annotation = |name: &str, value: &str| format!("{indent}  <annotation name=\"{name}\" value=\"{value}\"/>");
        let qt_type = || {
            let signature = attribute(text, "type")?;
            QT_TYPES.iter().find(|(known, _)| *known == signature).map(|(_, name)| *name)
        };
        if !element {
            lines.push(line.to_owned());
        } else if text.starts_with("<arg ") {
            // Arguments of signals, which have no direction here, come out of the service.
            let (word, count) =
                if attribute(text, "direction") == Some("in") { ("In", &mut taken) } else { ("Out", &mut given) };
            let wanted = qt_type()
                .map(|name| format!("{indent}<annotation name=\"{QT_ANNOTATION}.{word}{count}\" value=\"{name}\"/>"));
            qt.extend(wanted);
            *count += 1;
            lines.push(line.to_owned());
        } else if text.starts_with("<property ") {
            qt.extend(qt_type().map(|name| annotation(QT_ANNOTATION, name)));
            if let Some(open) = line.strip_suffix("/>") {
                lines.push(format!("{open}>"));
                lines.push(annotation(EMITS_CHANGED, "true"));
                lines.append(&mut qt);
                lines.push(format!("{indent}</property>"));
            } else {
                lines.push(line.to_owned());
            }
        } else {
            if text.starts_with("</") {
                lines.append(&mut qt);
                (taken, given) = (0, 0);
            }
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// The value of an attribute of the element on this line.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_go_where_qt_looks_for_them_and_comments_are_left_alone() {
        let description = "\
<interface name=\"x.Y\">
  <!--
   <method name=\"Not\"> <arg type=\"a{sv}\"/>
   -->
  <method name=\"Do\">
    <arg name=\"a\" type=\"as\" direction=\"in\"/>
    <arg name=\"b\" type=\"a{sv}\" direction=\"in\"/>
    <arg name=\"c\" type=\"aa{sv}\" direction=\"out\"/>
  </method>
  <signal name=\"Done\">
    <arg name=\"d\" type=\"t\"/>
    <arg name=\"e\" type=\"a{sv}\"/>
  </signal>
  <property name=\"Count\" type=\"u\" access=\"read\"/>
  <property name=\"Holder\" type=\"(us)\" access=\"read\">
    <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"false\"/>
  </property>
</interface>";
        let expected = "\
<interface name=\"x.Y\">
  <!--
   <method name=\"Not\"> <arg type=\"a{sv}\"/>
   -->
  <method name=\"Do\">
    <arg name=\"a\" type=\"as\" direction=\"in\"/>
    <arg name=\"b\" type=\"a{sv}\" direction=\"in\"/>
    <arg name=\"c\" type=\"aa{sv}\" direction=\"out\"/>
    <annotation name=\"org.qtproject.QtDBus.QtTypeName.In1\" value=\"QVariantMap\"/>
    <annotation name=\"org.qtproject.QtDBus.QtTypeName.Out0\" value=\"QList&lt;QVariantMap&gt;\"/>
  </method>
  <signal name=\"Done\">
    <arg name=\"d\" type=\"t\"/>
    <arg name=\"e\" type=\"a{sv}\"/>
    <annotation name=\"org.qtproject.QtDBus.QtTypeName.Out1\" value=\"QVariantMap\"/>
  </signal>
  <property name=\"Count\" type=\"u\" access=\"read\">
    <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"true\"/>
  </property>
  <property name=\"Holder\" type=\"(us)\" access=\"read\">
    <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"false\"/>
    <annotation name=\"org.qtproject.QtDBus.QtTypeName\" value=\"OmgLockHolder\"/>
  </property>
</interface>";
        assert_eq!(annotated(description), expected);
        let methods = arguments_in(description);
        let taken: Vec<_> = methods["Do"].iter().map(|argument| argument.signature.as_str()).collect();
        assert_eq!((methods.len(), taken), (1, vec!["as", "a{sv}"]));
    }
}
