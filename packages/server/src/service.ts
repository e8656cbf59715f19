/** Puts the service together: data directory, catalogue, identity, routes, listener. */
import { compile as compileTrust } from '@fastify/proxy-addr'
import type { FastifyInstance } from 'fastify'
import { openAgentHost, type AgentHostOptions } from './agent-host/index.ts'
import { openAudit } from './audit/index.ts'
import { isShortPage, openBackupPages, openPageThreads, type MakeBackupPage, type PageThreads } from './backups/index.ts'
import { systemClock, type Clock } from './clock.ts'
import { databasePath, type ServerConfig } from './config.ts'
import { StartRefusal } from './data-directory.ts'
import type { Deps } from './deps.ts'
import { keepManifests } from './catalog/index.ts'
import type { Database } from './db/database.ts'
import { openRevisions } from './db/revisions.ts'
import { createApp } from './http/app.ts'
import { openListener, type Listener } from './http/listener.ts'
import { openQuickAnswers } from './http/quick-answers.ts'
import type { Route } from './http/route.ts'
import { administrationRoutes } from './http/routes/administration-routes.ts'
import { agentRoutes } from './http/routes/agent-routes.ts'
import { auditRoutes } from './http/routes/audit-routes.ts'
import { backupRoutes } from './http/routes/backup-routes.ts'
import { billingRoutes } from './http/routes/billing-routes.ts'
import { browseRoutes } from './http/routes/browse-routes.ts'
import { checkpointRoutes } from './http/routes/checkpoint-routes.ts'
import { eventRoutes } from './http/routes/event-routes.ts'
import { featureRoutes } from './http/routes/feature-routes.ts'
import { identityRoutes } from './http/routes/identity-routes.ts'
import { memberRoutes } from './http/routes/member-routes.ts'
import { operationLogRoutes } from './http/routes/operation-log-routes.ts'
import { organizationPolicyRoutes } from './http/routes/organization-policy-routes.ts'
import { policyRoutes } from './http/routes/policy-routes.ts'
import { protectableRoutes } from './http/routes/protectable-routes.ts'
import { resourceRoutes } from './http/routes/resource-routes.ts'
import { openApiRoute, serviceRoutes } from './http/routes/service-routes.ts'
import { tagRoutes } from './http/routes/tag-routes.ts'
import { unsupportedRoutes } from './http/routes/unsupported-routes.ts'
import { vaultRoutes } from './http/routes/vault-routes.ts'
import { verifyRoutes } from './http/routes/verify-routes.ts'
import { authenticate, confine, makeBootstrapUser, openKeystoneAuthenticator, recallTokenText, updateBootstrapEndpoint } from './identity/index.ts'
import { openScheduler, type Scheduler, type SchedulerOptions } from './scheduler/index.ts'
import { openCatalogue, type OpenCatalogue } from './open-catalogue.ts'
import { joinServers } from './servers/index.ts'
import { openReaderHost } from './reader-host/index.ts'
import { keepScrubbing } from './verify/index.ts'
import { keepDelivering } from './webhooks/index.ts'

/** How long calls that are under way may take when the server stops. */
const CALLS_PATIENCE_MS = 5000

export interface Service extends AsyncDisposable {
  readonly scheduler: Scheduler
  readonly app: FastifyInstance
  readonly deps: Deps
  /** Looks at the files of the certificate now, as is done every few seconds. */
  readonly reloadCertificate: Listener['reload']
  /** Opens the port of the configuration (0: any free one), and records the address in bootstrap.json. */
  readonly listen: () => Promise<{ readonly url: string }>
  /** Lets calls that are under way finish, takes no new ones, and gives the data directory back. */
  readonly close: () => Promise<void>
}

export interface ServiceOverrides {
  readonly clock?: Clock
  /** 'none' starts no agent: jobs wait, for tests that look at what comes before they run. */
  readonly agent?: AgentHostOptions | 'none' | undefined
  /** With the timer 'manual' policies run when `scheduler.tick` is called, and not before. */
  readonly scheduler?: SchedulerOptions | undefined
}

/** Every operation that the server answers. `makeBackupPage`: elsewhere than here and now. */
export function allRoutes(deps: Deps, makeBackupPage = openBackupPages(deps.reads)): Route[] {
  const routes = [
    ...serviceRoutes(deps),
    ...identityRoutes(deps),
    ...administrationRoutes(deps),
    ...resourceRoutes(deps),
    ...vaultRoutes(deps),
    ...tagRoutes(deps),
    ...billingRoutes(deps),
    ...eventRoutes(deps),
    ...auditRoutes(deps),
    ...protectableRoutes(deps),
    ...agentRoutes(deps),
    ...backupRoutes(deps, makeBackupPage),
    ...checkpointRoutes(deps),
    ...memberRoutes(deps),
    ...featureRoutes(deps),
    ...operationLogRoutes(deps),
    ...policyRoutes(deps),
    ...organizationPolicyRoutes(deps),
    ...verifyRoutes(deps),
    ...browseRoutes(deps),
    ...unsupportedRoutes(),
  ]
  return [...routes, openApiRoute(routes)]
}

/**
 * Opens a data directory, making it on the first start. Throws a `StartRefusal` when another server
 * uses the directory or something in it is not as it must be.
 */
export async function openService(config: ServerConfig, overrides: ServiceOverrides = {}): Promise<Service> {
  const catalogue = await openCatalogue(config)
  try {
    return await assemble(config, overrides, catalogue)
  } catch (error) {
    await catalogue.close()
    throw error
  }
}

async function assemble(
  config: ServerConfig, overrides: ServiceOverrides, { db, reads, secrets, close: closeCatalogue }: OpenCatalogue,
): Promise<Service> {
  const tell = (text: string): void => {
    if (config.logLevel !== 'silent') process.stderr.write(`${text}\n`)
  }
  const pages = openPages(config, reads, tell)
  const deps: Deps = {
    db,
    reads,
    clock: overrides.clock ?? systemClock(),
    config,
    secrets,
    wakeAgents: () => agents?.wake(),
    reader: openReaderHost((text) => tell(`reader host: ${text}`)),
  }
  const listener = openListener(config, tell)
  let refusal: string | undefined
  let retire: (() => void) | undefined
  await makeBootstrapUser(deps)
  const audit = await openAudit(deps)
  const keystone = config.keystone === undefined ? undefined : openKeystoneAuthenticator(deps, config.keystone, (text) => tell(`identity: ${text}`))
  const routes = allRoutes(deps, pages.makePage)
  const isTrusted = compileTrust([...config.trustProxy ?? []])
  const trusts = (address: string): boolean => isTrusted(address, 0)
  let isClosing = false
  // The framework logs every call at these levels, and tokens of an outside Keystone are none that are remembered here.
  const isLogged = config.logLevel === 'info' || config.logLevel === 'debug'
  const quick = isLogged || keystone !== undefined ? undefined : openQuickAnswers({
    routes,
    readRevisions: openRevisions(reads),
    recallToken: (token, revision) => recallTokenText(db, token, revision, deps.clock.now()),
    isOpen: () => refusal === undefined && !isClosing,
    isTrusted: trusts,
  })
  const app = createApp({
    routes,
    quick,
    authenticate: (request) => authenticate(deps, request, keystone),
    confine: (seen, call) => confine(deps.db, seen, call),
    audit,
    makeServer: listener.makeServer,
    isTrusted: trusts,
    clock: deps.clock,
    refusal: () => refusal,
    logLevel: config.logLevel,
  })
  const membership = await joinServers(deps, (migrations) => {
    if (refusal === undefined) process.stderr.write(`servers: a newer version of OpenCBR has changed the catalogue (${migrations.join(', ')}): this server ends its work and takes no more calls\n`)
    refusal = 'A newer version of OpenCBR has changed the catalogue: this server takes no more calls. Update it to that version and start it again.'
    retire?.()
  })
  const agents = overrides.agent === 'none' ? undefined : await openAgentHost(deps, membership, overrides.agent)
  const manifests = overrides.agent === 'none' ? undefined : keepManifests(deps)
  const stopScrubbing = overrides.agent === 'none' ? undefined : keepScrubbing(deps)
  const webhooks = overrides.agent === 'none' ? undefined : keepDelivering(deps)
  const scheduler = openScheduler(deps, overrides.scheduler)
  // Only the port stays, so that whoever calls, and whoever looks after the server, is told why.
  retire = () => {
    stopScrubbing?.()
    manifests?.stop()
    webhooks?.stop()
    void scheduler.close()
    void agents?.close()
  }
  async function listen(): Promise<{ url: string }> {
    const { host, port } = config.listen
    try {
      await app.listen({ host, port, listenTextResolver: () => '' })
    } catch (error) {
      throw new StartRefusal(`The server cannot listen on ${host}:${port}: ${(error as Error).message}`, { cause: error })
    }
    const url = urlOf(app, listener.scheme)
    await updateBootstrapEndpoint(config, url)
    return { url }
  }
  let closing: Promise<void> | undefined
  async function closeOnce(): Promise<void> {
    isClosing = true
    // A client that never ends its request must not keep the server from ending.
    listener.close()
    stopScrubbing?.()
    const impatience = setTimeout(() => app.server.closeAllConnections(), CALLS_PATIENCE_MS)
    await Promise.all([app.close().finally(() => clearTimeout(impatience)), agents?.close(), scheduler.close()])
    await pages.close()
    await webhooks?.close()
    await audit.close()
    await deps.reader.close()
    await manifests?.close()
    // Where the catalogue is out of reach, the others find out by themselves.
    await membership.leave().catch(() => {})
    await closeCatalogue()
  }
  function close(): Promise<void> {
    closing ??= closeOnce()
    return closing
  }
  return { app, deps, scheduler, reloadCertificate: listener.reload, listen, close, [Symbol.asyncDispose]: close }
}

/** Short pages are made here and now, others in threads where there are some. On PostgreSQL nothing here waits for a page anyway. */
function openPages(config: ServerConfig, reads: Database, tell: (text: string) => void): PageThreads {
  const makeHere = openBackupPages(reads)
  const threadsMax = config.database === undefined ? config.listThreads ?? 0 : 0
  if (threadsMax === 0) return { makePage: makeHere, close: async () => {} }
  const threads = openPageThreads(databasePath(config), threadsMax, tell)
  const makePage: MakeBackupPage = (projectId, listing, revision) => (isShortPage(listing) ? makeHere : threads.makePage)(projectId, listing, revision)
  return { makePage, close: threads.close }
}

/** An address that a client on this machine can use, also when the server listens on all of them. */
function urlOf(app: FastifyInstance, scheme: Listener['scheme']): string {
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new TypeError('the server listens on no port')
  if (address.address === '0.0.0.0' || address.address === '::') return `${scheme}://127.0.0.1:${address.port}`
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `${scheme}://${host}:${address.port}`
}
