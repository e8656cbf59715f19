import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Api } from '../api.ts'
import { onRun } from '../command.ts'
import type { Connection } from '../connection.ts'
import { CommandFailure } from '../exit-codes.ts'
import { printLine } from '../output.ts'
import { quoteForShell } from '../shell.ts'

export const CLIENTS = ['python', 'go', 'node', 'terraform', 'openstack', 'curl'] as const
type Client = (typeof CLIENTS)[number]

/** What clients want to know of a server, and of us there. */
interface Place {
  readonly connection: Connection
  readonly region: string
  readonly projectId: string
  readonly projectName: string
  /** Of the project, and in bootstrap.json's case of the user, too. */
  readonly domainName: string
  /** Absolute. */
  readonly caFile: string | undefined
}

export function addEnv(program: Command): void {
  const command = program.command('env <client>')
    .description(`print what points a client at this server: ${CLIENTS.join(', ')}`)
    .addHelpText('after', '\nFor a shell:  eval "$(opencbr env python)"; terraform gets a file, and curl a script. The output has credentials in it.')
  onRun<{ caFile?: string }>(command, async ({ args: [name = ''], options, openApi, findConnection, print }) => {
    const client = CLIENTS.find((each) => each === name)
    if (client === undefined) throw new CommandFailure('usage', `There is nothing for ${name}; known are ${CLIENTS.join(', ')}.`)
    const caFile = options.caFile ?? process.env['OPENCBR_CA_FILE'] ?? ''
    const place = await findPlace(await openApi(), findConnection(), caFile === '' ? undefined : resolve(caFile))
    const output = describe(client, place)
    print(output, () => {
      for (const line of output.comments) printLine(`# ${line}`)
      for (const [variable, value] of Object.entries(output.variables)) printLine(`export ${variable}=${quoteForShell(value)}`)
      if (output.text !== undefined) printLine(output.text)
    })
  })
}

async function findPlace(api: Api, connection: Connection, caFile: string | undefined): Promise<Place> {
  const { catalog } = await api.call<{ catalog: { endpoints: { region: string }[] }[] }>('GET', '/v3/auth/catalog')
  const { projects } = await api.call<{ projects: { id: string, name: string, domain_id: string }[] }>('GET', '/v3/auth/projects')
  const { domains } = await api.call<{ domains: { id: string, name: string }[] }>('GET', '/v3/auth/domains')
  const region = catalog.flatMap(({ endpoints }) => endpoints)[0]?.region
  const project = projects.find(({ id }) => id === api.projectId)
  const domain = domains.find(({ id }) => id === project?.domain_id)
  if (region === undefined || project === undefined || domain === undefined) {
    throw new CommandFailure('failure', `The server at ${connection.endpoint} does not tell where the project ${api.projectId} is.`)
  }
  return { connection, region, projectId: project.id, projectName: project.name, domainName: domain.name, caFile }
}

interface Output {
  readonly comments: readonly string[]
  readonly variables: Readonly<Record<string, string>>
  readonly text?: string
}

function describe(client: Client, place: Place): Output {
  switch (client) {
    case 'python': return describePython(place)
    case 'go': return describeGo(place)
    case 'node': return describeNode(place)
    case 'terraform': return describeTerraform(place)
    case 'openstack': return describeOpenstack(place)
    case 'curl': return describeCurl(place)
  }
}

function keysOf({ connection: { credentials } }: Place, client: Client): { accessKey: string, secretKey: string } {
  if (credentials.kind === 'key') return credentials
  throw new CommandFailure('usage', `The client ${client} signs its calls: name the server with --data DIR, or set OPENCBR_ACCESS_KEY and OPENCBR_SECRET_KEY.`)
}

function sdkVariables(place: Place, client: Client): Record<string, string> {
  const { accessKey, secretKey } = keysOf(place, client)
  return { HUAWEICLOUD_SDK_AK: accessKey, HUAWEICLOUD_SDK_SK: secretKey, HUAWEICLOUD_SDK_PROJECT_ID: place.projectId }
}

function regionVariable({ region, connection: { endpoint } }: Place): Record<string, string> {
  return { [`HUAWEICLOUD_SDK_REGION_CBR_${region.toUpperCase().replaceAll('-', '_')}`]: endpoint }
}

function trusting({ caFile }: Place, variable: string): Record<string, string> {
  return caFile === undefined ? {} : { [variable]: caFile }
}

function describePython(place: Place): Output {
  return {
    comments: ['Huawei Cloud SDK v3 for Python: programs stay as they are; the region is', `CbrRegion.value_of(${JSON.stringify(place.region)})`],
    variables: {
      ...sdkVariables(place, 'python'), ...regionVariable(place), HUAWEICLOUD_SDK_IAM_ENDPOINT: place.connection.endpoint, ...trusting(place, 'REQUESTS_CA_BUNDLE'),
    },
  }
}

function describeGo(place: Place): Output {
  const isTls = place.connection.endpoint.startsWith('https:')
  return {
    comments: [
      `Huawei Cloud SDK v3 for Go: the region is region.ValueOf(${JSON.stringify(place.region)})`,
      // The SDK puts https:// before whatever that variable says.
      ...(isTls ? [] : ['Over plain HTTP, name the project in the program (WithProjectId): the SDK looks projects up by https only.']),
    ],
    variables: {
      ...sdkVariables(place, 'go'), ...regionVariable(place), ...(isTls ? { HUAWEICLOUD_SDK_IAM_ENDPOINT: place.connection.endpoint } : {}), ...trusting(place, 'SSL_CERT_FILE'),
    },
  }
}

function describeNode(place: Place): Output {
  return {
    comments: [
      'Huawei Cloud SDK v3 for Node.js: it has no variable for the address; say in the program',
      '.withEndpoint(process.env.CBR_ENDPOINT), and withProjectId(…) on the credentials',
    ],
    variables: { ...sdkVariables(place, 'node'), CBR_ENDPOINT: place.connection.endpoint, ...trusting(place, 'NODE_EXTRA_CA_CERTS') },
  }
}

/** JSON's strings are also those of HCL, but for the templates. */
function hcl(text: string): string {
  return JSON.stringify(text).replaceAll('${', '$${').replaceAll('%{', '%%{')
}

function describeTerraform(place: Place): Output {
  const { accessKey, secretKey } = keysOf(place, 'terraform')
  const { connection: { endpoint }, region, projectId, caFile } = place
  return {
    comments: [
      'The Terraform provider huaweicloud/huaweicloud:  opencbr env terraform > provider.tf  (keep it private)',
      ...(caFile === undefined ? [] : [`Run terraform with SSL_CERT_FILE=${quoteForShell(caFile)}`]),
    ],
    variables: {},
    text: `terraform {
  required_providers {
    huaweicloud = { source = "huaweicloud/huaweicloud" }
  }
}

provider "huaweicloud" {
  region     = ${hcl(region)}
  project_id = ${hcl(projectId)}
  access_key = ${hcl(accessKey)}
  secret_key = ${hcl(secretKey)}
  auth_url   = ${hcl(`${endpoint}/v3`)}
  endpoints = {
    iam = ${hcl(`${endpoint}/`)}
    cbr = ${hcl(`${endpoint}/`)}
  }
}`,
  }
}

function describeOpenstack(place: Place): Output {
  const { connection: { endpoint, credentials, login }, region, projectId, projectName, domainName } = place
  const common = { OS_AUTH_URL: `${endpoint}/v3`, OS_IDENTITY_API_VERSION: '3', OS_REGION_NAME: region, ...trusting(place, 'OS_CACERT') }
  const comments = ['openstack cbr … (python-openstackclient with otcextensions), and programs with gophertelekomcloud']
  if (login !== undefined) {
    return {
      comments,
      variables: {
        ...common, OS_USERNAME: login.userName, OS_PASSWORD: login.password, OS_USER_DOMAIN_NAME: login.domainName, OS_PROJECT_NAME: projectName,
        OS_PROJECT_DOMAIN_NAME: domainName,
      },
    }
  }
  if (credentials.kind === 'token') return { comments, variables: { ...common, OS_AUTH_TYPE: 'v3token', OS_TOKEN: credentials.token, OS_PROJECT_ID: projectId } }
  throw new CommandFailure('usage', 'The openstack client needs a password or a token: name the server with --data DIR, or set OPENCBR_TOKEN.')
}

function describeCurl({ connection: { endpoint, credentials, login }, projectId, caFile }: Place): Output {
  const curl = `curl -sS${caFile === undefined ? '' : ` --cacert ${quoteForShell(caFile)}`}`
  return {
    comments: ['A shell script: it logs in and lists backups. Secrets go through standard input, where other users of the machine do not see them.'],
    variables: {},
    text: `${tokenScript(curl, endpoint, projectId, credentials, login)}
${curl} -H @- ${quoteForShell(`${endpoint}/v3/${projectId}/backups?limit=10`)} <<END
X-Auth-Token: $token
END`,
  }
}

function tokenScript(curl: string, endpoint: string, projectId: string, credentials: Connection['credentials'], login: Connection['login']): string {
  if (login === undefined) {
    if (credentials.kind === 'token') return `token=${quoteForShell(credentials.token)}`
    throw new CommandFailure('usage', 'curl cannot sign calls: name the server with --data DIR, or set OPENCBR_TOKEN.')
  }
  const body = {
    auth: {
      identity: { methods: ['password'], password: { user: { name: login.userName, password: login.password, domain: { name: login.domainName } } } },
      scope: { project: { id: projectId } },
    },
  }
  return `token=$(${curl} -o /dev/null -D - -H 'Content-Type: application/json' -d @- ${quoteForShell(`${endpoint}/v3/auth/tokens`)} <<'END' |
${JSON.stringify(body)}
END
  tr -d '\\r' | awk -F': ' 'tolower($1) == "x-subject-token" { print $2 }')`
}
