import type { Command } from 'commander'
import { collect, onRun } from '../command.ts'
import { CommandFailure } from '../exit-codes.ts'
import { IDENTITIES, keystoneRoles, LOG_LEVELS, readServeSettings, serveDefaults, type ServeFlags } from '../settings.ts'

export function addServe(program: Command): void {
  const command = program.command('serve')
    .description('run the service until it is asked to stop')
    .option('--listen <host:port>', `address to answer on; port 0 takes a free one (OPENCBR_LISTEN, default ${serveDefaults.listen})`)
    .option('--database <url>', 'keep the catalogue in PostgreSQL, postgres://USER:PASSWORD@HOST:PORT/NAME, where several servers may share it '
      + '(OPENCBR_DATABASE, default: SQLite in the data directory)')
    .option('--master-key-file <file>', 'the key that opens the secrets in the catalogue; servers that share a catalogue share it '
      + '(OPENCBR_MASTER_KEY_FILE, default: master.key in the data directory)')
    .option('--storage <place>', 'where vaults lie: a directory, or s3://HOST/BUCKET/FOLDER with its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; servers that share a catalogue share it (OPENCBR_STORAGE, default: vaults in the data directory)')
    .option('--allow-path <dir>', 'backups may read and restores may write inside this directory; PROJECT:DIR allows it to one project, by its id; may be repeated '
      + '(OPENCBR_ALLOW_PATH, separated by colons; default: none)', collect)
    .option('--region <name>', `the region that clients name (OPENCBR_REGION, default ${serveDefaults.region})`)
    .option('--share-servers-only', 'share backups of servers only, and not those of other resources (OPENCBR_SHARE_SERVERS_ONLY)')
    .option('--strict-resources', 'refuse resources that no agent offers, instead of failing their backups (OPENCBR_STRICT_RESOURCES)')
    .option('--jobs-per-agent <count>', 'jobs that an agent works on at a time (OPENCBR_JOBS_PER_AGENT, default 2)')
    .option('--writers-per-vault <count>', 'backups that run in one vault at a time (OPENCBR_WRITERS_PER_VAULT, default 1)')
    .option('--stuck-after <seconds>', 'give a task up that shows no sign of going on for so long (OPENCBR_STUCK_AFTER, default 3600)')
    .option('--server-lease <seconds>', 'how long a server that shares its catalogue may be silent before the others take its jobs over '
      + '(OPENCBR_SERVER_LEASE, default 30)')
    .option('--tls-cert <file>', 'speak TLS with this certificate (PEM); it is read again when it changes (OPENCBR_TLS_CERT)')
    .option('--tls-key <file>', 'the key of the certificate (OPENCBR_TLS_KEY)')
    .option('--trust-proxy <addresses>', 'believe what these proxies say in X-Forwarded-For, -Proto and -Host: addresses and networks, separated by commas (OPENCBR_TRUST_PROXY, default: none)')
    .option('--request-timeout <seconds>', 'how long a client may take to send a request (OPENCBR_REQUEST_TIMEOUT, default 60)')
    .option('--identity <where>', `where users and tokens live: ${IDENTITIES.join(', ')} (OPENCBR_IDENTITY, default own)`)
    .option('--keystone-url <url>', 'the outside Keystone, http://HOST:PORT/v3; the user that asks it about tokens stands in OPENCBR_KEYSTONE_USER, '
      + 'OPENCBR_KEYSTONE_PASSWORD and OPENCBR_KEYSTONE_PROJECT (OPENCBR_KEYSTONE_URL)')
    .option('--keystone-roles <map>', 'what roles of Keystone give (OPENCBR_KEYSTONE_ROLES, default '
      + `${Object.entries(keystoneRoles).map((pair) => pair.join('=')).join(',')})`)
    .option('--keystone-cache <seconds>', 'for how long an answer of Keystone is remembered (OPENCBR_KEYSTONE_CACHE, default 60)')
    .option('--keystone-access-keys', 'take calls signed by EC2 credentials of Keystone: its user then reads all secrets there (OPENCBR_KEYSTONE_ACCESS_KEYS)')
    .option('--prune-grace <time>', 'keep data that no backup needs any more for so long before its space is given back, as 24h (OPENCBR_PRUNE_GRACE, default 0s)')
    .option('--list-threads <count>', 'threads that put long lists together, when the catalogue is SQLite; 0: the server does it itself, and other calls wait (OPENCBR_LIST_THREADS, default: one less than processors, at least 1 and at most 4)')
    .option('--webhooks <file>', 'tell the receivers in this file of events; a JSON list of {"url", "secret"} (OPENCBR_WEBHOOKS, default: none)')
    .option('--log-level <level>', `${LOG_LEVELS.join(', ')} (OPENCBR_LOG_LEVEL, default ${serveDefaults.logLevel})`)
    .option('--config <file>', 'JSON file with data, database, master_key_file, storage, listen, allow_paths, region, strict_resources, share_servers_only, log_level, tls_cert, tls_key, trust_proxy, prune_grace, webhooks, the limits and the settings of Keystone (OPENCBR_CONFIG)')
    .addHelpText('after', `\n--data is where the service keeps everything (OPENCBR_DATA, default ${serveDefaults.data}).`)
  onRun<ServeFlags>(command, async ({ options }) => {
    const config = readServeSettings(options, process.env, process.cwd())
    // Loaded here alone: the other commands start faster without the server.
    const { serve, StartRefusal } = await import('@opencbr/server')
    await serve(config).catch((error: unknown) => {
      throw error instanceof StartRefusal ? new CommandFailure('failure', error.message, { cause: error }) : error
    })
  })
}
