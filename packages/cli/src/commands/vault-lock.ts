import type { Command } from 'commander'
import type { Vault } from '@opencbr/contract'
import { onRun } from '../command.ts'
import { confirmByTyping } from '../confirm.ts'
import { findVaultId } from '../names.ts'
import { printNote } from '../output.ts'

/** Locking has no way back, so it is a command of its own, which wants the vault's name once more. */
export function addLock(group: Command): void {
  const command = group.command('lock <vault>')
    .description('lock a vault (WORM) for ever: its automatic backups leave only by their retention')
    .option('--confirm <name>', 'the name of the vault once more; at a terminal it is asked for')
  onRun<{ confirm?: string }>(command, async ({ args: [text = ''], options, openApi, print }) => {
    const api = await openApi()
    const path = `/v3/{project_id}/vaults/${encodeURIComponent(await findVaultId(api, text))}`
    const { vault } = await api.call<{ vault: Vault }>('GET', path)
    if (!vault.locked) {
      printNote(`Nobody can take the lock off the vault ${vault.name} again. Its policy stays bound, its resources stay in it, and it stays itself as long as it holds automatic backups.`)
      await confirmByTyping('To lock it, type its name', vault.name, options.confirm)
    }
    const answer = await api.call<{ vault: Vault }>('PUT', path, { body: { vault: { locked: true } } })
    print(answer, () => printNote(vault.locked ? `The vault ${vault.name} was locked already.` : `The vault ${vault.name} is locked.`))
  })
}
