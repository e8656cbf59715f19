import { openKeyring, type KeyId, type Keyring } from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printNote, printTable } from '../output.ts'
import { interruptible, oneOf, readNewPassword, reading, refuseIfGuarded, shortId, withLock, withRepository, type AccessFlags } from './repository-access.ts'

interface NewKeyFlags extends AccessFlags {
  readonly newPasswordFile?: string
  readonly host?: string
  readonly user?: string
}

export function runKeyList({ args: [location = ''], options, print }: Call<AccessFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async ({ storage, password }, signal) => {
    const keys = await (await openKeyring(storage, password, signal)).list()
    print(keys.map(({ id, current, created, hostname, username, readable }) => ({
      current, id, userName: username, hostName: hostname, created, readable,
    })), () => printTable(keys, [
      { title: '', value: ({ current }) => (current ? '*' : ' ') },
      { title: 'id', value: ({ id }) => shortId(id) },
      { title: 'host', value: ({ hostname }) => hostname },
      { title: 'user', value: ({ username }) => username },
      { title: 'created', value: ({ created }) => created.slice(0, 19).replace('T', ' ') },
      { title: 'readable', value: ({ readable }) => readable },
    ], 'No keys.'))
  }))
}

export function runKeyAdd({ args: [location = ''], options, print }: Call<NewKeyFlags>): Promise<void> {
  return changing(location, options, false, async (keyring, lock) => {
    const id = await keyring.add({ password: await readNewPassword(options.newPasswordFile), hostname: options.host, username: options.user }, lock)
    print({ id }, () => printNote(`The key ${shortId(id)} was added.`))
  })
}

export function runKeyRemove({ args: [location = '', name = ''], options, print }: Call<AccessFlags>): Promise<void> {
  return changing(location, options, true, async (keyring, lock) => {
    const ids = (await keyring.list()).map(({ id }) => id).filter((id) => id.startsWith(name))
    const id = oneOf<KeyId>(ids, name, 'key')
    await keyring.remove(id, lock)
    print({ removed: id }, () => printNote(`The key ${shortId(id)} was removed. Who has held it may know the master key still.`))
  })
}

export function runKeyPasswd({ args: [location = ''], options, print }: Call<NewKeyFlags>): Promise<void> {
  return changing(location, options, true, async (keyring, lock) => {
    const replaced = keyring.currentId
    const id = await keyring.changePassword({ password: await readNewPassword(options.newPasswordFile), hostname: options.host, username: options.user }, lock)
    print({ id, replaced }, () => printNote(`The password was changed: the key ${shortId(id)} stands in the place of ${shortId(replaced)}.`))
  })
}

function changing(
  location: string, flags: AccessFlags, exclusive: boolean, work: (keyring: Keyring, lock: Parameters<Keyring['add']>[1]) => Promise<void>,
): Promise<void> {
  return interruptible((wholeSignal) => withRepository(location, flags, wholeSignal, async ({ repository, storage, password }) => {
    // A key that goes may be the one of the server, whose backups would be lost with it.
    if (exclusive) await refuseIfGuarded(storage, wholeSignal)
    await withLock(repository, flags, exclusive, wholeSignal, async (lock, signal) => work(await openKeyring(storage, password, signal), lock))
  }))
}
