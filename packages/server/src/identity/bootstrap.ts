/**
 * The first start makes one domain, project, user and access key, and writes them to
 * `bootstrap.json`, from where programs on this machine read how to reach the server.
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServerConfig } from '../config.ts'
import { StartRefusal, writePrivateFile } from '../data-directory.ts'
import type { Deps } from '../deps.ts'
import { newHexId, type DomainId, type ProjectId, type UserId } from '../ids.ts'
import { newAccessKey } from './access-keys.ts'
import { accessKeyPurpose } from './identity.ts'
import { hasDomains, hasProjectNamed, insertTenant } from './identity-store.ts'
import { hashPassword } from './password.ts'

/** The members of `bootstrap.json`. */
export interface Bootstrap {
  readonly endpoint: string
  readonly region: string
  readonly domain_name: string
  readonly domain_id: string
  readonly project_name: string
  readonly project_id: string
  readonly user_name: string
  readonly password: string
  readonly access_key: string
  readonly secret_key: string
}

export function bootstrapPath(config: Pick<ServerConfig, 'dataDir'>): string {
  return join(config.dataDir, 'bootstrap.json')
}

/**
 * Makes the bootstrap user if nobody was made before. The project is named after the region, because
 * clients look their project up by the region's name; so a directory keeps its region.
 */
export async function makeBootstrapUser({ db, clock, config, secrets }: Pick<Deps, 'db' | 'clock' | 'config' | 'secrets'>): Promise<void> {
  if (await hasDomains(db)) {
    if (await hasProjectNamed(db, config.region)) return
    throw new StartRefusal(`The data directory ${config.dataDir} belongs to another region than ${config.region}: start the server with its own.`)
  }
  const { accessKey, secretKey } = newAccessKey()
  const ids = { domain: newHexId<DomainId>(), project: newHexId<ProjectId>(), user: newHexId<UserId>() }
  const bootstrap: Bootstrap = {
    endpoint: '',
    region: config.region,
    domain_name: 'opencbr',
    domain_id: ids.domain,
    project_name: config.region,
    project_id: ids.project,
    user_name: 'admin',
    password: randomBytes(18).toString('base64url'),
    access_key: accessKey,
    secret_key: secretKey,
  }
  const passwordHash = await hashPassword(bootstrap.password)
  // The file first: a crash in between leaves no user, and the next start writes the file again. The
  // other way round it would leave a user whose password nobody knows.
  await writeBootstrap(config, bootstrap)
  const createdAt = clock.now()
  const isFirst = await db.transaction().execute(async (tx) => {
    // Of servers that start at once on a shared catalogue, one makes the user.
    if (await hasDomains(tx)) return false
    await insertTenant(tx, {
      domain: { id: ids.domain, name: bootstrap.domain_name, created_at: createdAt },
      project: { id: ids.project, domain_id: ids.domain, name: bootstrap.project_name, created_at: createdAt },
      user: { id: ids.user, domain_id: ids.domain, name: bootstrap.user_name, password_hash: passwordHash, created_at: createdAt },
      accessKey: {
        access_key: bootstrap.access_key,
        user_id: ids.user,
        secret_sealed: secrets.seal(accessKeyPurpose(bootstrap.access_key), bootstrap.secret_key),
        created_at: createdAt,
      },
    })
    return true
  })
  if (!isFirst) await rm(bootstrapPath(config), { force: true })
}

/**
 * Records the address at which the server listens now. An operator may have taken the file away, as
 * it holds a password; then it stays away.
 */
export async function updateBootstrapEndpoint(config: Pick<ServerConfig, 'dataDir'>, endpoint: string): Promise<void> {
  const path = bootstrapPath(config)
  if (!existsSync(path)) return
  let bootstrap: Bootstrap
  try {
    bootstrap = JSON.parse(await readFile(path, 'utf8')) as Bootstrap
  } catch (error) {
    throw new StartRefusal(`${path} is damaged: repair it, or take it away.`, { cause: error })
  }
  await writeBootstrap(config, { ...bootstrap, endpoint })
}

async function writeBootstrap(config: Pick<ServerConfig, 'dataDir'>, bootstrap: Bootstrap): Promise<void> {
  await writePrivateFile(bootstrapPath(config), `${JSON.stringify(bootstrap, null, 2)}\n`)
}
