// HTTP/2 requests: `node http2.mjs URL CA-FILE COUNT` sends COUNT of them at once on one connection and prints
// status, node and body of each as JSON.
import { readFileSync } from 'node:fs'
import { connect } from 'node:http2'

const [url, ca, count] = process.argv.slice(2)
const session = connect(url, { ca: readFileSync(ca) })
session.on('error', (error) => {
  console.error(error)
  process.exit(1)
})

function ask() {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/',
      'content-type': 'application/json',
      'x-iota-api-version': '1',
    })
    let status, node
    let body = ''
    stream.setEncoding('utf8')
    stream.on('response', (headers) => {
      status = headers[':status']
      node = headers['x-nodegate-node']
    })
    stream.on('data', (chunk) => (body += chunk))
    stream.on('end', () => resolve({ status, node, body }))
    stream.on('error', reject)
    stream.end('{"command":"getNodeInfo"}')
  })
}

const answers = await Promise.all(Array.from({ length: Number(count) }, ask))
console.log(JSON.stringify({ protocol: session.alpnProtocol, answers }))
session.close()
