// What a wallet does, with the client library of the time: `node iota.cjs URL` prints what came of it as JSON.
const { composeAPI } = require('@iota/core')

const SEED = 'NODEGATE'.repeat(10) + 'N'
const ADDRESS = 'ADDRESS9'.repeat(10) + '9'
const TAG = 'NODEGATE9TEST'.padEnd(27, '9')
const DEPTH = 3
const WEIGHT = 9

async function story(url) {
  const iota = composeAPI({ provider: url })
  const info = await iota.getNodeInfo()
  const balances = await iota.getBalances([ADDRESS])
  const spent = await iota.wereAddressesSpentFrom([ADDRESS])
  const before = await iota.findTransactions({ tags: [TAG] })
  const tips = await iota.getTransactionsToApprove(DEPTH)
  const prepared = await iota.prepareTransfers(SEED, [{ address: ADDRESS, value: 0, tag: TAG }])
  const attached = await iota.attachToTangle(tips.trunkTransaction, tips.branchTransaction, WEIGHT, prepared)
  await iota.storeAndBroadcast(attached)
  const after = await iota.findTransactions({ tags: [TAG] })
  const trytes = await iota.getTrytes(after)
  const objects = await iota.findTransactionObjects({ addresses: [ADDRESS] })
  const consistent = await iota.checkConsistency(after)
  const states = await iota.getInclusionStates(after)
  const refused = await iota.getNeighbors().then(() => null, (error) => String(error))
  return { info, balances, spent, before, tips, prepared, attached, after, trytes, objects, consistent, states, refused }
}

story(process.argv[2]).then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error)
    process.exitCode = 1
  },
)
