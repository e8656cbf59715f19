/**
 * Completion scripts for shells, made from the tree of commands. Each script carries the whole tree, so that
 * completing costs no start of the program: which commands and options there are at a place, and which
 * options take a value. Where a value or an argument is wanted, the shell completes names of files.
 */
import type { Command, Option } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

interface Place {
  /** The names of the commands that lead here, with blanks; nothing for the program itself. */
  readonly path: string
  readonly commands: readonly { readonly name: string, readonly text: string }[]
  readonly options: readonly { readonly names: readonly string[], readonly takesValue: boolean, readonly text: string }[]
}

export function completionScript(program: Command, shell: Shell): string {
  const places = listPlaces(program)
  switch (shell) {
    case 'bash': return bashScript(program.name(), places)
    case 'zsh': return zshScript(program.name(), places)
    case 'fish': return fishScript(program.name(), places)
  }
}

/** Every command of the tree, each with its own options and those of the commands above it. */
export function listPlaces(command: Command, path = '', above: readonly Option[] = []): Place[] {
  const options = [...command.options, ...above].filter((option) => !option.hidden)
  const help = { names: ['--help', '-h'], takesValue: false, text: 'explain the command' }
  return [
    {
      path,
      commands: command.commands.map((child) => ({ name: child.name(), text: firstLine(child.description()) })),
      options: [...options.map(describeOption), help],
    },
    ...command.commands.flatMap((child) => listPlaces(child, `${path} ${child.name()}`.trim(), options)),
  ]
}

function describeOption(option: Option): Place['options'][number] {
  return {
    names: [option.long, option.short].filter((name) => name !== undefined),
    takesValue: option.required || option.optional,
    text: firstLine(option.description),
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}

const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

function namesOf(place: Place): string[] {
  return place.options.flatMap((option) => option.names)
}

function valued(place: Place): string[] {
  return place.options.filter((option) => option.takesValue).flatMap((option) => option.names)
}

/** A function of the shell that prints one line for each place that has one. */
function table(name: string, places: readonly Place[], line: (place: Place) => readonly string[]): string {
  const cases = places.filter((place) => line(place).length > 0).map((place) => `    ${quote(place.path)}) printf '%s\\n' ${quote(line(place).join(' '))} ;;`)
  return `${name}() {\n  case "$1" in\n${cases.join('\n')}\n  esac\n}\n`
}

function bashScript(program: string, places: readonly Place[]): string {
  const prefix = `_${program}`
  return `# bash completion for ${program}. To use it:  source <(${program} completion bash)
${table(`${prefix}_commands`, places, (place) => place.commands.map((command) => command.name))}
${table(`${prefix}_options`, places, namesOf)}
${table(`${prefix}_valued`, places, valued)}
${prefix}() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' wanted='' word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $wanted ]]; then
      wanted=''
    elif [[ $word == -* ]]; then
      [[ " $(${prefix}_valued "$path") " == *" $word "* ]] && wanted=yes
    elif [[ " $(${prefix}_commands "$path") " == *" $word "* ]]; then
      path="\${path:+$path }$word"
    fi
  done
  local commands
  commands=$(${prefix}_commands "$path")
  if [[ -z $wanted && $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(${prefix}_options "$path")" -- "$current")
  elif [[ -z $wanted && -n $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  else
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F ${prefix} ${program}
`
}

function zshScript(program: string, places: readonly Place[]): string {
  const prefix = `_${program}`
  return `#compdef ${program}
# zsh completion for ${program}. To use it:  source <(${program} completion zsh)
${table(`${prefix}_commands`, places, (place) => place.commands.map((command) => command.name))}
${table(`${prefix}_options`, places, namesOf)}
${table(`${prefix}_valued`, places, valued)}
${prefix}() {
  local current=\${words[CURRENT]} at='' wanted='' word
  integer i
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    if [[ -n $wanted ]]; then
      wanted=''
    elif [[ $word == -* ]]; then
      [[ " $(${prefix}_valued "$at") " == *" $word "* ]] && wanted=yes
    elif [[ " $(${prefix}_commands "$at") " == *" $word "* ]]; then
      at="\${at:+$at }$word"
    fi
  done
  local commands
  commands=$(${prefix}_commands "$at")
  if [[ -z $wanted && $current == -* ]]; then
    compadd -- \${=$(${prefix}_options "$at")}
  elif [[ -z $wanted && -n $commands ]]; then
    compadd -- \${=commands}
  else
    _files
  fi
}
compdef ${prefix} ${program}
`
}

function fishScript(program: string, places: readonly Place[]): string {
  const prefix = `__${program}`
  const all = places.filter((place) => place.path !== '').map((place) => quote(place.path))
  const taking = places.flatMap((place) => valued(place).map((name) => quote(`${place.path} ${name}`.trim())))
  const lines = places.flatMap((place) => {
    const here = `complete -c ${program} -n ${quote(`${prefix}_at ${quote(place.path)}`)}`
    return [
      ...place.commands.map((command) => `${here} -f -a ${quote(command.name)} -d ${quote(command.text)}`),
      ...place.options.map(({ names, takesValue, text }) => {
        const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`)).join(' ')
        return `${here} ${flags}${takesValue ? ' -r' : ''} -d ${quote(text)}`
      }),
    ]
  })
  return `# fish completion for ${program}. To use it:  ${program} completion fish | source
set -g ${prefix}_commands ${all.join(' ')}
set -g ${prefix}_valued ${taking.join(' ')}
function ${prefix}_at
  set -l at ''
  set -l wanted no
  for word in (commandline -opc)[2..-1]
    if test $wanted = yes
      set wanted no
    else if string match -q -- '-*' $word
      if contains -- (string trim -- "$at $word") $${prefix}_valued
        set wanted yes
      end
    else if contains -- (string trim -- "$at $word") $${prefix}_commands
      set at (string trim -- "$at $word")
    end
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`
}
