//! PowerShell 7.

use super::{Memory, Syntax, Unsayable};

pub(super) struct Powershell;

impl Syntax for Powershell {
    /// Between single quotes only these have a meaning, and twice they are themselves: PowerShell takes typographic
    /// ones for ordinary ones (about_Quoting_Rules).
    fn quote(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        let text = std::str::from_utf8(value).map_err(|_| Unsayable)?;
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('\'');
        for character in text.chars() {
            if matches!(character, '\'' | '\u{2018}'..='\u{201b}') {
                quoted.push(character);
            }
            quoted.push(character);
        }
        quoted.push('\'');
        Ok(quoted.into_bytes())
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        Ok([&b"$env:"[..], name.as_bytes(), b" = ", &self.quote(value)?, b"\n"].concat())
    }

    fn unset(&self, name: &str) -> Vec<u8> {
        format!("Remove-Item -LiteralPath Env:{name} -ErrorAction Ignore\n").into_bytes()
    }

    fn set_path(&self, value: &[u8]) -> Result<Vec<u8>, Unsayable> {
        self.set("PATH", value)
    }

    fn remember(&self, _memory: &Memory) -> Result<Vec<u8>, Unsayable> {
        Ok(Vec::new())
    }

    fn hook(&self) -> &'static str {
        HOOK
    }
}

/// The prompt that was there is called by the new one, with the exit code that it would have seen.
const HOOK: &str = r#"$global:__OmgProgram = @OMG@
$global:__OmgFolder = $null
function global:__omg_hook {
    $folder = $PWD.ProviderPath
    if ($global:__OmgFolder -ceq $folder -or -not (Test-Path -LiteralPath $global:__OmgProgram)) { return }
    $place = if ($null -eq $global:__OmgFolder) { '--front' } else { '--kept' }
    $global:__OmgFolder = $folder
    $code = $global:LASTEXITCODE
    $script = & $global:__OmgProgram env --shell powershell --hook $PID --told '' $place | Out-String
    if ($script) { Invoke-Expression $script }
    $global:LASTEXITCODE = $code
}
if (-not $global:__OmgPrompt) {
    $global:__OmgPrompt = $function:prompt
    function global:prompt { __omg_hook; & $global:__OmgPrompt }
}
__omg_hook
"#;
