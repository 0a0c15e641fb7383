// A wallet that does its own proof of work, as the public nodes' users had to: `node wallet.cjs URL` prints what
// came of each call as JSON. (The lab does not check the work, so none is done.)
const { composeAPI } = require('@iota/core')
const { asTransactionObject } = require('@iota/transaction-converter')

const SEED = 'NODEGATE'.repeat(10) + 'W'
const ADDRESS = 'WALLET99'.repeat(10) + '9'
const TAG = 'NODEGATE9WALLET'.padEnd(27, '9')
const DEPTH = 3
const WEIGHT = 14
const ATTACHED = 'A'.repeat(9) + '9'.repeat(9) + 'M'.repeat(9) + 'NONCE9'.padEnd(27, 'A') // timestamps, nonce

function attach(trunk, branch, weight, trytes) {
  const attached = []
  let previous = null
  for (const each of trytes) {
    const references = previous ? previous + trunk : trunk + branch
    const done = each.slice(0, 2430) + references + each.slice(2592, 2619) + ATTACHED
    previous = asTransactionObject(done).hash
    attached.push(done)
  }
  return Promise.resolve(attached.reverse())
}

const words = (promise) => promise.then(() => null, (error) => String(error))

async function story(url) {
  const iota = composeAPI({ provider: url, attachToTangle: attach })
  const told = {}
  told.info = await iota.getNodeInfo()
  told.address = await iota.getNewAddress(SEED, { index: 0, total: 2 })
  told.account = await iota.getAccountData(SEED, { start: 0, end: 2 })
  told.balances = await iota.getBalances([ADDRESS])
  told.spent = await iota.wereAddressesSpentFrom([ADDRESS])
  const transfers = [0, 1].map(() => ({ address: ADDRESS, value: 0, tag: TAG, message: 'HELLO' }))
  const prepared = await iota.prepareTransfers(SEED, transfers)
  const sent = await iota.sendTrytes(prepared, DEPTH, WEIGHT)
  told.sent = sent.map((each) => each.hash)
  told.found = {
    tags: await iota.findTransactions({ tags: [TAG] }),
    addresses: await iota.findTransactions({ addresses: [ADDRESS] }),
    bundles: await iota.findTransactions({ bundles: [sent[0].bundle] }),
    approvees: await iota.findTransactions({ approvees: [sent[1].hash] }),
  }
  told.trytes = await iota.getTrytes(told.sent)
  told.bundle = (await iota.getBundle(told.sent[0])).length
  told.objects = (await iota.findTransactionObjects({ addresses: [ADDRESS] })).length
  told.states = await iota.getInclusionStates(told.sent)
  told.consistent = await iota.checkConsistency([told.sent[0]])
  told.referenced = await iota.getTransactionsToApprove(DEPTH, told.sent[0])
  told.promoted = (await iota.promoteTransaction(told.sent[0], DEPTH, WEIGHT)).length
  await iota.storeAndBroadcast(told.trytes)
  const node = composeAPI({ provider: url })
  told.refused = {
    pow: await words(node.attachToTangle(told.sent[0], told.sent[0], WEIGHT, prepared)),
    interrupt: await words(node.interruptAttachingToTangle()),
    neighbours: await words(node.getNeighbors()),
  }
  return told
}

story(process.argv[2]).then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    console.error(error)
    process.exitCode = 1
  },
)
